//! The published catalogue of the region's own verbs, and the facts each one states.
//!
//! Services name their verbs in their tables of operations; what has no caller from outside is listed here. A reader of
//! a record needs nothing else to know what an entry of the region means. It is printed in `CATALOGUE.md` ([`markdown`]).

use crate::Weight;
use base::Text;

/// One row of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    /// [`crate::Event::verb`].
    pub name: &'static str,
    pub weight: Weight,
    /// The facts that an entry with this verb states, all of them.
    pub facts: &'static [&'static str],
    pub meaning: Text,
}

const fn verb(name: &'static str, weight: Weight, facts: &'static [&'static str], en: &'static str, fr: &'static str) -> Verb {
    Verb { name, weight, facts, meaning: Text { en, fr } }
}

pub const REGION_CREATED: Verb = verb(
    "Region created",
    Weight::System,
    &["region", "origin"],
    "The region came to life; its first entry.",
    "La région est née ; sa première entrée.",
);
/// Every code digest that entries carry has to be announced by one of these, whose `code.sha256` is its entry's own.
pub const PROCESS_STARTED: Verb = verb(
    "Process started",
    Weight::System,
    &["code.sha256", "version"],
    "A process of the region started, under this code digest.",
    "Un processus de la région a démarré, avec cette empreinte de code.",
);
pub const PROCESS_STOPPED: Verb = verb(
    "Process stopped",
    Weight::System,
    &[],
    "A process of the region stopped in good order.",
    "Un processus de la région s’est arrêté proprement.",
);
pub const BATCH_LOST: Verb = verb(
    "Batch lost",
    Weight::System,
    &["since", "until"],
    "The process before this one was cut off: batched reads of its last second may be missing.",
    "Le processus précédent a été interrompu : les lectures groupées de sa dernière seconde peuvent manquer.",
);
/// Owner: that of the act. Where the opening can be read, the closing entry repeats it instead.
pub const ACT_SWEPT: Verb = verb(
    "Act swept",
    Weight::Before,
    &["opens", "why"],
    "An act that a stopped process had left open was closed as unfinished, though its opening can't be read.",
    "Un acte laissé ouvert par un processus arrêté a été clos comme inachevé, bien que son ouverture soit illisible.",
);
pub const ACT_LEFT_OPEN: Verb = verb(
    "Act left open",
    Weight::System,
    &["opens", "why"],
    "An act that a stopped process had left open can't be closed: whose it is can't be told any more.",
    "Un acte laissé ouvert par un processus arrêté ne peut être clos : on ne sait plus à qui il est.",
);
pub const TRUST_KEYS: Verb = verb(
    "Trust keys",
    Weight::System,
    &["log", "region"],
    "The public keys that sign checkpoints, places and bundles.",
    "Les clés publiques qui signent les points de contrôle, les lieux et les exports.",
);
pub const CA_CREATED: Verb = verb(
    "Certificate authority created",
    Weight::System,
    &["ca.sha256", "ca.name"],
    "The region's certificate authority was made.",
    "L’autorité de certification de la région a été créée.",
);
pub const CERTIFICATE_ISSUED: Verb = verb(
    "Certificate issued",
    Weight::System,
    &["certificate.sha256", "names"],
    "The region's certificate authority signed a server certificate.",
    "L’autorité de certification de la région a signé un certificat de serveur.",
);
pub const SITE_PLACED: Verb = verb(
    "Site placed",
    Weight::System,
    &["site", "country", "nuts", "address"],
    "A site was added at this signed place.",
    "Un site a été ajouté à ce lieu signé.",
);
pub const SITE_REMOVED: Verb = verb("Site removed", Weight::System, &["site"], "A site left the region.", "Un site a quitté la région.");
pub const WITNESS_ADDED: Verb = verb(
    "Witness added",
    Weight::System,
    &["witness"],
    "A witness was asked to cosign checkpoints.",
    "Un témoin a été chargé de cosigner les points de contrôle.",
);
pub const WITNESS_REMOVED: Verb =
    verb("Witness removed", Weight::System, &["witness"], "A witness is no longer asked.", "Un témoin n’est plus sollicité.");
/// Owner: the tenant. `residency` is written as in the manifest of a bundle: ISO 3166-1 codes, sorted, joined by commas,
/// or `any`.
pub const TENANT_CREATED: Verb = verb(
    "Tenant created",
    Weight::System,
    &["tenant", "residency"],
    "A tenant was created, with the countries its data may be in.",
    "Un locataire a été créé, avec les pays où ses données peuvent se trouver.",
);
/// Owner: the tenant. The auditor holds the last of these (or of [`TENANT_CREATED`]) against the manifest.
pub const RESIDENCY_SET: Verb = verb(
    "Residency set",
    Weight::With,
    &["residency"],
    "The countries in which the tenant's data may be were changed.",
    "Les pays où les données du locataire peuvent se trouver ont été changés.",
);
pub const KEY_CREATED: Verb = verb(
    "Key created",
    Weight::System,
    &["key", "kind"],
    "A key of the hierarchy was made: region, tenant, record or resource.",
    "Une clé de la hiérarchie a été créée : région, locataire, journal ou ressource.",
);
pub const KEY_DESTROYED: Verb = verb(
    "Key destroyed",
    Weight::Before,
    &["key"],
    "A key was destroyed: what it sealed is erased.",
    "Une clé a été détruite : ce qu’elle scellait est effacé.",
);
/// Owner: the operator. Other customers need not know where anyone's requests come from.
pub const STRANGERS: Verb = verb(
    "Strangers refused",
    Weight::Tally,
    &[],
    "Requests without a valid caller, counted per door, reason and source prefix each second; in the operator's record.",
    "Requêtes sans appelant valide, comptées par porte, motif et préfixe d’origine à chaque seconde ; dans le journal de l’opérateur.",
);
pub const READS: Verb = verb(
    "Reads",
    Weight::Batched,
    &[],
    "Reads of the tenant's own data, gathered per account within a second.",
    "Lectures par le locataire de ses propres données, groupées par compte à la seconde.",
);
pub const REFUSALS: Verb = verb(
    "Refusals",
    Weight::Batched,
    &[],
    "Refused requests of known callers, gathered per account within a second.",
    "Requêtes refusées d’appelants connus, groupées par compte à la seconde.",
);
pub const BUNDLE_EXPORTED: Verb = verb(
    "Bundle exported",
    Weight::Before,
    &["size"],
    "The record was exported for a tenant, with its openings.",
    "Le journal a été exporté pour un locataire, avec ses ouvertures.",
);

/// Every row, in the order of a region's life.
pub const ALL: &[Verb] = &[
    REGION_CREATED,
    PROCESS_STARTED,
    PROCESS_STOPPED,
    BATCH_LOST,
    ACT_SWEPT,
    ACT_LEFT_OPEN,
    TRUST_KEYS,
    CA_CREATED,
    CERTIFICATE_ISSUED,
    SITE_PLACED,
    SITE_REMOVED,
    WITNESS_ADDED,
    WITNESS_REMOVED,
    TENANT_CREATED,
    RESIDENCY_SET,
    KEY_CREATED,
    KEY_DESTROYED,
    STRANGERS,
    READS,
    REFUSALS,
    BUNDLE_EXPORTED,
];

/// The row of a verb.
pub fn find(name: &str) -> Option<&'static Verb> {
    ALL.iter().find(|verb| verb.name == name)
}

/// The catalogue as a table, in the language of `lang` ([`Text::of`]).
pub fn markdown(lang: &str) -> String {
    let mut out = String::from(Text { en: "| verb | weight | facts | meaning |\n", fr: "| verbe | poids | faits | sens |\n" }.of(lang));
    out.push_str("|---|---|---|---|\n");
    for verb in ALL {
        let weight = format!("{:?}", verb.weight).to_lowercase();
        out.push_str(&format!("| {} | {weight} | {} | {} |\n", verb.name, verb.facts.join(", "), verb.meaning.of(lang)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for verb in ALL {
            assert_eq!(find(verb.name).unwrap().name, verb.name);
            assert_eq!(ALL.iter().filter(|other| other.name == verb.name).count(), 1);
            assert!(!verb.meaning.en.is_empty() && !verb.meaning.fr.is_empty());
        }
        assert!(find("Region Created").is_none());
        assert_eq!(markdown("fr").lines().count(), ALL.len() + 2);
    }

    /// To update: `UPDATE_GOLDEN=1 cargo test -p record catalogue`.
    #[test]
    fn it_is_published() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/CATALOGUE.md");
        let text = format!("# The verbs of the region\n\n{}\n# Les verbes de la région\n\n{}", markdown("en"), markdown("fr"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    }
}
