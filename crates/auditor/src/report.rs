//! What the check says: a verdict, the findings behind it, and what the record tells; as text in French or English, and
//! as JSON.

use crate::group::Group;
use base::{EntryId, Place, SiteName, Text, Timestamp};
use record::bundle::Header;
use record::{Actor, Digest, Ended, Owner, Who};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Display;

/// Findings that are listed; the rest is counted.
const LISTED_MAX: usize = 200;
const ACTS_MAX: usize = 20_000;
/// An entry may be dated so much later than its bundle before it is said.
const AFTER_MS_MAX: i64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Everything holds under the keys given.
    True,
    /// Everything holds under the bundle's own keys: nobody has vouched for them.
    SelfConsistentOnly,
    NotTrue,
    /// Not a bundle.
    Unreadable,
}

macro_rules! faults {
    ($($name:ident $en:literal $fr:literal;)*) => {
        /// What can be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub enum Fault { $(#[doc = $en] $name,)* }
        impl Fault {
            pub fn text(self) -> Text {
                match self { $(Fault::$name => Text { en: $en, fr: $fr },)* }
            }
        }
    };
}

faults! {
    Unreadable "the file is not a bundle" "le fichier n’est pas un export";
    Malformed "it is not in its canonical form" "il n’est pas dans sa forme canonique";
    PartCount "the file has not the parts that the manifest lists" "le fichier n’a pas les parties que liste le manifeste";
    PartAltered "its bytes are not those that the manifest signs" "ses octets ne sont pas ceux que signe le manifeste";
    NotSigned "it is not signed by the key" "il n’est pas signé par la clé";
    TenantDiffers "it is not the bundle of the owner of the trust file" "ce n’est pas l’export du titulaire du fichier de confiance";
    TagKeyDiffers "it is not the tag key of the trust file: entries could be hidden" "ce n’est pas la clé d’étiquetage du fichier de confiance : des entrées pourraient être cachées";
    CheckpointDiffers "it is a checkpoint of another log or size" "c’est un point de contrôle d’un autre journal ou d’une autre taille";
    CosignatureWrong "the cosignature does not hold, of the witness" "la cosignature ne tient pas, du témoin";
    TooFewWitnesses "too few witnesses have cosigned" "trop peu de témoins ont cosigné";
    RootDiffers "its root is not that of the entries" "sa racine n’est pas celle des entrées";
    EntryCount "entries are missing or too many" "des entrées manquent ou sont de trop";
    LeafDiffers "the entry is not the one of its leaf hash" "l’entrée n’est pas celle de son empreinte";
    NumberGap "the outbox skips, repeats or reorders a number" "la boîte d’envoi saute, répète ou déplace un numéro";
    TimeBack "time runs back by more than an hour" "le temps recule de plus d’une heure";
    NeverOpened "it closes an act that was not opened before it" "elle clôt un acte qui n’a pas été ouvert avant elle";
    ClosedTwice "it closes an act a second time" "elle clôt un acte une seconde fois";
    ClosedByAnother "it closes an act of another owner" "elle clôt un acte d’un autre propriétaire";
    OpeningMissing "its opening is left out" "son ouverture est omise";
    OpeningStray "there is an opening of no entry" "il y a une ouverture sans entrée";
    CommitmentDiffers "its opening is not the one it commits to" "son ouverture n’est pas celle à laquelle elle s’engage";
    EventMalformed "its event is not in canonical form" "son événement n’est pas dans sa forme canonique";
    OwnerDiffers "its tag is not that of the owner of its event" "son étiquette n’est pas celle du propriétaire de son événement";
    PhaseDiffers "its event has ended where it should begin, or the reverse" "son événement est fini alors qu’il devrait commencer, ou l’inverse";
    CodeDiffers "it announces another code digest than its own" "elle annonce une autre empreinte de code que la sienne";
    CodeUnannounced "no process announced its code digest" "aucun processus n’a annoncé son empreinte de code";
    PlaceOfAnother "it is the place of another region or site" "c’est le lieu d’une autre région ou d’un autre site";
    PlaceUnknown "bytes are at a site without a signed place" "des octets sont sur un site sans lieu signé";
    PlaceForbidden "bytes are in a country that the tenant does not allow" "des octets sont dans un pays que le locataire n’autorise pas";
    ResidencyDiffers "the residency is not the one that the record states" "la résidence n’est pas celle qu’énonce le journal";
}

/// Something wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// `manifest`, or the name of a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Index of an entry in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// `shard-number` of the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    pub fault: Fault,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl Finding {
    /// One line, in the language of `lang`.
    pub fn text(&self, lang: &str) -> String {
        let entry = Text { en: "entry", fr: "entrée" }.of(lang);
        let mut place = self.part.clone().unwrap_or_default();
        if let Some(index) = self.index {
            place = format!("{entry} {index}");
        }
        if let Some(id) = &self.entry {
            place.push_str(&format!(" ({id})"));
        }
        let detail = if self.detail.is_empty() { String::new() } else { format!(" [{}]", self.detail) };
        format!("{place}: {}{detail}", self.fault.text().of(lang))
    }
}

/// Findings, with a bound on how many are kept.
#[derive(Default)]
pub(crate) struct Findings {
    listed: Vec<Finding>,
    count: u64,
}

impl Findings {
    pub(crate) fn part(&mut self, part: impl Display, fault: Fault, detail: &str) {
        self.push(Finding { part: Some(part.to_string()), index: None, entry: None, fault, detail: detail.into() });
    }
    pub(crate) fn entry(&mut self, index: u64, id: Option<EntryId>, fault: Fault, detail: &str) {
        self.push(Finding { part: None, index: Some(index), entry: id.map(|id| id.to_string()), fault, detail: detail.into() });
    }
    fn push(&mut self, finding: Finding) {
        self.count += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(finding);
        }
    }
    pub(crate) fn append(&mut self, other: Findings) {
        self.count += other.count;
        let room = LISTED_MAX - self.listed.len().min(LISTED_MAX);
        self.listed.extend(other.listed.into_iter().take(room));
    }
}

/// How often an act ended which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub begun: u64,
    pub done: u64,
    pub refused: u64,
    pub failed: u64,
    pub unfinished: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, ended: Ended, count: u64) {
        let slot = match ended {
            Ended::Begun => &mut self.begun,
            Ended::Done => &mut self.done,
            Ended::Refused => &mut self.refused,
            Ended::Failed => &mut self.failed,
            Ended::Unfinished => &mut self.unfinished,
        };
        *slot = slot.saturating_add(count);
    }
    fn merge(&mut self, other: &Counts) {
        let counts = [(Ended::Begun, other.begun), (Ended::Done, other.done), (Ended::Refused, other.refused)];
        counts
            .into_iter()
            .chain([(Ended::Failed, other.failed), (Ended::Unfinished, other.unfinished)])
            .for_each(|(ended, n)| self.add(ended, n));
    }
}

/// What someone did, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Act {
    pub verb: String,
    pub who: String,
    #[serde(flatten)]
    pub counts: Counts,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CodeUse {
    pub sha256: Digest,
    pub entries: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WitnessSeen {
    pub name: String,
    /// When it cosigned, RFC 3339.
    pub at: String,
}

/// A site with a signed place, and what of the tenant's it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SitePlace {
    pub site: SiteName,
    pub country: String,
    pub nuts: String,
    pub address: String,
    /// In a country that the tenant allows.
    pub allowed: bool,
    pub chunks: u64,
    pub bytes: u64,
}

impl SitePlace {
    pub(crate) fn new(place: &Place, allowed: bool) -> SitePlace {
        let Place { site, country, nuts, address } = place.clone();
        SitePlace { site, country, nuts, address, allowed, chunks: 0, bytes: 0 }
    }
}

/// What the record tells. Only worth what the verdict is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    pub region: String,
    pub origin: String,
    /// Whose bundle it is: `region`, `operator` or a tenant's id.
    pub owner: String,
    /// Countries; empty for no rule.
    pub residency: Vec<String>,
    pub created: Timestamp,
    /// Entries 0 to `size` of the log.
    pub size: u64,
    pub root: Option<Digest>,
    pub first_at: Option<Timestamp>,
    pub last_at: Option<Timestamp>,
    /// Entries dated more than a minute before an earlier one: the region's clock was set back.
    pub set_back_count: u64,
    /// Last number of each outbox, by shard.
    pub outboxes: BTreeMap<u16, u64>,
    pub of_owner: u64,
    pub of_region: u64,
    pub of_others: u64,
    pub witnesses: Vec<WitnessSeen>,
    pub codes: Vec<CodeUse>,
    pub places: Vec<SitePlace>,
    pub acts: Vec<Act>,
    /// Acts beyond the bound of the list.
    pub acts_left_out: u64,
    pub unfinished_count: u64,
    /// Opening entries without a closing one, up to a hundred.
    pub unfinished: Vec<String>,
}

impl Summary {
    pub(crate) fn of(header: &Header) -> Summary {
        Summary {
            region: header.region.to_string(),
            origin: header.origin.clone(),
            owner: header.owner.to_string(),
            residency: header.residency.clone(),
            created: header.created,
            size: header.size,
            ..Summary::default()
        }
    }

    pub(crate) fn take(&mut self, group: &Group) {
        self.of_owner += group.of_owner;
        self.of_region += group.of_region;
        self.of_others += group.entries.len() as u64 - group.of_owner - group.of_region;
        self.acts_left_out = self.acts_left_out.saturating_add(group.acts_left_out);
        for ((verb, who), counts) in &group.acts {
            let at = self.acts.binary_search_by(|act| (&act.verb, &act.who).cmp(&(verb, who)));
            match at {
                Ok(at) => self.acts[at].counts.merge(counts),
                Err(at) if self.acts.len() < ACTS_MAX => {
                    self.acts.insert(at, Act { verb: verb.clone(), who: who.clone(), counts: *counts })
                }
                Err(_) => self.acts_left_out += 1,
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub verdict: Verdict,
    /// The first two hundred.
    pub findings: Vec<Finding>,
    pub findings_count: u64,
    pub summary: Summary,
}

impl Report {
    pub(crate) fn new(findings: Findings, summary: Summary, trusted: bool) -> Report {
        let verdict = match (findings.count, trusted) {
            (0, true) => Verdict::True,
            (0, false) => Verdict::SelfConsistentOnly,
            _ => Verdict::NotTrue,
        };
        Report { verdict, findings: findings.listed, findings_count: findings.count, summary }
    }

    pub(crate) fn unreadable(part: Option<String>, why: &str) -> Report {
        let finding = Finding {
            part: Some(part.unwrap_or_else(|| "bundle".into())),
            index: None,
            entry: None,
            fault: Fault::Unreadable,
            detail: why.into(),
        };
        Report { verdict: Verdict::Unreadable, findings: vec![finding], findings_count: 1, summary: Summary::default() }
    }

    pub fn json(&self) -> String {
        // only strings are keys, and no value refuses to be printed
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// For a person, in the language of `lang` ([`Text::of`]).
    pub fn text(&self, lang: &str) -> String {
        let say = |en, fr| Text { en, fr }.of(lang);
        let mut out = String::new();
        let mut line = |text: String| out.push_str(&(text + "\n"));
        line(
            match self.verdict {
                Verdict::True => say("TRUE: everything holds under the keys given.", "VRAI : tout tient sous les clés données."),
                Verdict::SelfConsistentOnly => say(
                    "SELF-CONSISTENT ONLY: everything holds, but under keys from the bundle itself. Get the keys out of band.",
                    "COHÉRENT SEULEMENT : tout tient, mais sous les clés de l’export lui-même. Obtenez les clés par une autre voie.",
                ),
                Verdict::NotTrue => say("NOT TRUE: the bundle does not hold.", "FAUX : l’export ne tient pas."),
                Verdict::Unreadable => say("UNREADABLE: this is not a bundle.", "ILLISIBLE : ce n’est pas un export."),
            }
            .into(),
        );
        for finding in &self.findings {
            line(format!("  - {}", finding.text(lang)));
        }
        if self.findings_count > self.findings.len() as u64 {
            line(format!("  - {} {}", self.findings_count - self.findings.len() as u64, say("more", "de plus")));
        }
        if self.summary.origin.is_empty() {
            return out;
        }
        self.summary.lines(&say, &mut line);
        out
    }
}

impl Summary {
    fn lines(&self, say: &dyn Fn(&'static str, &'static str) -> &'static str, line: &mut dyn FnMut(String)) {
        let Summary { origin, size, created, of_owner, of_region, of_others, .. } = self;
        line(format!(
            "{} {origin}, {size} {}, {} {created}",
            say("record", "journal"),
            say("entries", "entrées"),
            say("exported", "exporté le")
        ));
        if let (Some(first), Some(last)) = (self.first_at, self.last_at) {
            line(format!("  {first} → {last}"));
            if last.0 > created.0 + AFTER_MS_MAX {
                line(format!(
                    "  {}",
                    say(
                        "the last entry is dated after the export: a clock was wrong, or set back before the export",
                        "la dernière entrée est datée d’après l’export : une horloge était fausse, ou fut reculée avant l’export"
                    )
                ));
            }
        }
        if self.set_back_count > 0 {
            line(format!(
                "  {} {}",
                self.set_back_count,
                say(
                    "entries are dated more than a minute before an earlier one: the region's clock was set back",
                    "entrées sont datées de plus d’une minute avant une précédente : l’horloge de la région fut reculée"
                )
            ));
        }
        line(format!(
            "  {}: {of_owner}, {}: {of_region}, {}: {of_others}",
            if self.owner == "operator" { say("operator", "opérateur") } else { say("tenant", "locataire") },
            say("region", "région"),
            say("others", "autres")
        ));
        for witness in &self.witnesses {
            line(format!("  {} {} {}", say("witnessed by", "attesté par"), witness.name, witness.at));
        }
        let newest = self.witnesses.iter().filter_map(|witness| Timestamp::parse_rfc3339(&witness.at)).max();
        if newest.is_some_and(|newest| newest.plus_seconds(3_600) < *created) {
            line(format!(
                "  {}",
                say(
                    "the newest cosignature is more than an hour older than the export: later entries may exist",
                    "la cosignature la plus récente a plus d’une heure de moins que l’export : des entrées plus récentes peuvent exister"
                )
            ));
        }
        line(say("code", "code").into());
        for code in &self.codes {
            line(format!("  {} {} {}", code.sha256, code.entries, say("entries", "entrées")));
        }
        line(say("places", "lieux").into());
        for place in &self.places {
            let allowed = if place.allowed { say("allowed", "autorisé") } else { say("NOT ALLOWED", "NON AUTORISÉ") };
            let SitePlace { site, country, nuts, address, bytes, chunks, .. } = place;
            line(format!(
                "  {site} {country} {nuts} {address}: {bytes} {}, {chunks} {}, {allowed}",
                say("bytes", "octets"),
                say("chunks", "blocs")
            ));
        }
        line(say("who did what", "qui a fait quoi").into());
        for Act { verb, who, counts } in &self.acts {
            let named = [
                (counts.begun, say("begun", "commencé")),
                (counts.done, say("done", "fait")),
                (counts.refused, say("refused", "refusé")),
                (counts.failed, say("failed", "échoué")),
                (counts.unfinished, say("unfinished", "inachevé")),
            ];
            let counts: Vec<String> = named.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{word} {n}")).collect();
            line(format!("  {verb}, {who}: {}", counts.join(", ")));
        }
        if self.unfinished_count > 0 {
            line(format!(
                "{}: {} ({})",
                say("opened and not closed", "ouverts et non clos"),
                self.unfinished_count,
                self.unfinished.join(", ")
            ));
        }
    }
}

/// A caller in a word or two: its kind, and a name or id. Names are chosen by the tenant they are from: one of another
/// tenant than the act's owner is shown with that tenant.
pub(crate) fn who(who: &Who, owner: Owner) -> String {
    let kind = match who.kind {
        Actor::Anonymous => "anonymous",
        Actor::User => "user",
        Actor::ServicePrincipal => "service principal",
        Actor::ManagedIdentity => "managed identity",
        Actor::Key => "account key",
        Actor::Sas => "SAS",
        Actor::Worker => "worker",
        Actor::Staff => "staff",
        Actor::Region => "region",
    };
    let name = who.name.clone().or_else(|| who.object.map(|id| id.to_string())).or_else(|| who.app.map(|id| id.to_string()));
    let who_text = name.map_or(kind.into(), |name| format!("{kind} {name}"));
    match who.tenant {
        Some(tenant) if owner != Owner::Tenant(tenant) => format!("{who_text} of tenant {tenant}"),
        _ => who_text,
    }
}

/// Seconds since 1970 as RFC 3339; empty for none.
pub(crate) fn time(at_seconds: Option<u64>) -> String {
    at_seconds.and_then(|at| i64::try_from(at).ok()).map_or(String::new(), |at| Timestamp::from_seconds(at).rfc3339())
}
