//! The help in French: each English line of the command's definition, and what it says in French.

use clap::{Arg, ArgAction, Command};

const FRENCH: &[(&str, &str)] = &[
    ("An open, sovereign cloud that speaks Azure", "Un cloud libre et souverain qui parle Azure"),
    ("The region's folder", "Le dossier de la région"),
    (
        "Start the region in a folder (created the first time); prints what to type next",
        "Démarrer la région dans un dossier (créé la première fois) ; affiche la suite à taper",
    ),
    (
        "Print shell lines that make az, the SDKs, curl and git trust and find the region",
        "Afficher les lignes de shell qui font qu’az, les SDK, curl et git trouvent la région et s’y fient",
    ),
    ("For which shell", "Pour quel shell"),
    ("A further tenant, by its domain", "Un autre locataire, par son domaine"),
    (
        "Register the region as a cloud of the az command and sign in; prints the commands it runs",
        "Enregistrer la région comme cloud de la commande az et se connecter ; affiche les commandes exécutées",
    ),
    (
        "Take the region's keys although others are kept for it",
        "Prendre les clés de la région bien que d’autres soient conservées pour elle",
    ),
    (
        "Show what makes the region's host names resolve here; changes nothing",
        "Montrer ce qui résout ici les noms d’hôtes de la région ; ne change rien",
    ),
    ("Storage accounts to print hosts lines for", "Comptes de stockage pour lesquels afficher des lignes hosts"),
    ("As JSON", "En JSON"),
    ("Show sites, services, the record's head, and what is wrong", "Montrer les sites, les services, la tête du journal et les anomalies"),
    ("Read the record: head, entries, proofs, bundles, keys", "Lire le journal : tête, entrées, preuves, exports, clés"),
    (
        "Check an exported bundle offline; exit code 0 true, 1 not true, 2 unreadable",
        "Vérifier un export hors ligne ; code de sortie 0 vrai, 1 faux, 2 illisible",
    ),
    ("The bundle", "L’export"),
    (
        "The keys, obtained by another way than the bundle; those that 'bleu login' kept if not said",
        "Les clés, obtenues par une autre voie que l’export ; sinon celles que « bleu login » a gardées",
    ),
    ("Add a further customer", "Ajouter un autre client"),
    ("Run a witness: it cosigns a log that does nothing but grow", "Démarrer un témoin : il cosigne un journal qui ne fait que croître"),
    ("The witness's folder", "Le dossier du témoin"),
    ("Where it listens", "Où il écoute"),
    (
        "The key of a log to watch, as 'bleu record trust' prints it",
        "La clé d’un journal à suivre, telle que l’affiche « bleu record trust »",
    ),
    ("Print address and key as JSON", "Afficher adresse et clé en JSON"),
    ("End when the standard input does", "Se terminer avec l’entrée standard"),
    ("Print the completions of a shell", "Afficher les complétions d’un shell"),
    (
        "Where it listens; 127.0.0.1:8443 unless region.toml says otherwise",
        "Où elle écoute ; 127.0.0.1:8443 sauf si region.toml en dit autrement",
    ),
    ("Written, whole, when every listener answers", "Écrit d’un bloc, quand tout répond"),
    (
        "The region's domain, at its first start; bleu.localhost if not said",
        "Le domaine de la région, au premier démarrage ; sinon bleu.localhost",
    ),
    ("The region's name, at its first start; francecentral if not said", "Le nom de la région, au premier démarrage ; sinon francecentral"),
    ("The region's sites, at its first start", "Les sites de la région, au premier démarrage"),
    (
        "Where rows are kept, at the first start: fjall, redb or postgres://USER@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE",
        "Où sont gardées les lignes, au premier démarrage : fjall, redb ou postgres://UTILISATEUR@HÔTE/BASE?sslmode=verify-full&sslrootcert=FICHIER",
    ),
    ("Answer name queries for the region's domain here", "Répondre ici aux requêtes de noms pour le domaine de la région"),
    ("Start no local witness", "Ne pas démarrer de témoin local"),
    ("Print where the region answers as JSON", "Afficher en JSON où répond la région"),
    ("The newest signed checkpoint", "Le dernier point de contrôle signé"),
    ("Entries as they come", "Les entrées au fil de l’eau"),
    ("The tenant whose entries are opened; the first one if not said", "Le locataire dont les entrées sont ouvertes ; sinon le premier"),
    ("From this index on; the last 20 entries if not said", "À partir de cet index ; sinon les 20 dernières entrées"),
    ("What is there, and no more", "Ce qui est là, et rien de plus"),
    ("A line of JSON each", "Une ligne de JSON chacune"),
    ("The proof that an entry is in the log, as JSON", "La preuve qu’une entrée est dans le journal, en JSON"),
    ("Such as 0-42; answers carry it as x-bleu-entry", "Tel que 0-42 ; les réponses le portent sous x-bleu-entry"),
    ("A tenant's bundle, for 'bleu verify'", "L’export d’un locataire, pour « bleu verify »"),
    ("The tenant; the first one if not said", "Le locataire ; sinon le premier"),
    (
        "The operator's own record instead: what no tenant owns, and requests of strangers",
        "Plutôt le journal propre à l’opérateur : ce qui n’est à aucun locataire, et les requêtes d’inconnus",
    ),
    ("Where it is written", "Où l’écrire"),
    (
        "The public keys of log, region and witnesses, to hand over by another way than the bundles",
        "Les clés publiques du journal, de la région et des témoins, à transmettre par une autre voie que les exports",
    ),
    ("Where they are written; printed if not said", "Où les écrire ; sinon affichées"),
    ("A tenant with its administrator and client application", "Un locataire avec son administrateur et son application cliente"),
    ("Such as Contoso", "Tel que Contoso"),
    ("Its domain; NAME under the region's if not said", "Son domaine ; sinon NOM sous celui de la région"),
];

fn translated(english: &str) -> Option<&'static str> {
    FRENCH.iter().find(|(en, _)| *en == english).map(|(_, fr)| *fr)
}

/// The command with its help in French.
pub fn french(command: Command) -> Command {
    let mut command = command.mut_args(|arg| match arg.get_help().and_then(|h| translated(&h.to_string())) {
        Some(fr) => arg.help(fr),
        None => arg,
    });
    if let Some(fr) = command.get_about().and_then(|about| translated(&about.to_string())) {
        command = command.about(fr);
    }
    let command =
        command.disable_help_flag(true).arg(Arg::new("help").short('h').long("help").action(ArgAction::Help).help("Afficher cette aide"));
    command.subcommand_help_heading("Commandes").mut_subcommands(french)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(command: &Command, found: &mut Vec<String>) {
        found.extend(command.get_about().map(|a| a.to_string()));
        found.extend(command.get_arguments().filter_map(|a| a.get_help().map(|h| h.to_string())));
        for sub in command.get_subcommands() {
            lines(sub, found);
        }
    }

    #[test]
    fn every_line_has_its_french_one() {
        let mut english = Vec::new();
        lines(&crate::definition(), &mut english);
        for line in &english {
            assert!(translated(line).is_some(), "no French for: {line}");
        }
        for (en, fr) in FRENCH {
            assert!(english.iter().any(|line| line == en), "no longer said: {en}");
            assert_ne!(en, fr);
        }
        let mut both = Vec::new();
        lines(&french(crate::definition()), &mut both);
        assert!(both.iter().all(|line| line == "Afficher cette aide" || FRENCH.iter().any(|(_, fr)| fr == line)), "{both:?}");
    }
}
