//! The name server of the closed namespace: it knows the region's names and nothing else, and writes down every name it
//! is asked for. What a client *wanted* to reach is a fact about the client, so the record is the test's evidence.
//!
//! UDP only: an answer here never exceeds 512 bytes, so no resolver falls back to TCP (RFC 1035, section 4.2).

use anyhow::{Context, Result};
use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

const LONGEST_QUERY_BYTES: usize = 4096;

/// Names asked for so far, lower case, without the final dot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<BTreeSet<String>>>);

impl Asked {
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    fn note(&self, name: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }
}

/// Answers on `address` for as long as the process lives.
pub(crate) fn serve(address: SocketAddr, domain: &str) -> Result<Asked> {
    let socket = UdpSocket::bind(address).with_context(|| format!("the name server cannot listen on {address}"))?;
    let asked = Asked::default();
    let (noted, domain) = (asked.clone(), domain.to_owned());
    std::thread::spawn(move || {
        let mut buffer = [0u8; LONGEST_QUERY_BYTES];
        loop {
            let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
            if let Some(reply) = answer(&buffer[..length], &domain, &noted) {
                // A resolver that went away asks again.
                let _ = socket.send_to(&reply, peer);
            }
        }
    });
    Ok(asked)
}

/// `None` for what is no query: a stranger's noise gets no answer.
fn answer(query: &[u8], domain: &str, asked: &Asked) -> Option<Vec<u8>> {
    let query = Packet::parse(query).ok().filter(|packet| !packet.has_flags(PacketFlag::RESPONSE))?;
    let question = query.questions.first()?.clone();
    let name = question.qname.to_string().to_ascii_lowercase();
    let ours = is_ours(&name, domain);
    asked.note(name);

    let mut reply = Packet::new_reply(query.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    if query.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    if !ours {
        *reply.rcode_mut() = RCODE::NameError;
    } else if question.qtype == QTYPE::TYPE(TYPE::A) {
        let data = RData::A(A { address: u32::from(Ipv4Addr::LOCALHOST) });
        reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, 1, data));
    }
    reply.questions.push(question);
    reply.build_bytes_vec_compressed().ok()
}

pub(crate) fn is_ours(name: &str, domain: &str) -> bool {
    name == "localhost" || name == domain || name.strip_suffix(domain).is_some_and(|front| front.ends_with('.'))
}

/// Names outside the region that are known and explained: `name  reason`, one a line.
pub(crate) fn allowed(text: &str) -> Result<BTreeMap<String, String>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, reason) = line.split_once(char::is_whitespace).with_context(|| format!("`{line}` gives no reason"))?;
            Ok((name.to_ascii_lowercase(), reason.trim().to_owned()))
        })
        .collect()
}

/// Two kinds of wrong: a name nobody explained, and an explanation nobody needs any more (the list may only shrink).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub unexplained: Vec<String>,
    pub unneeded: Vec<String>,
}

pub(crate) fn judge(asked: &BTreeSet<String>, allowed: &BTreeMap<String, String>, domain: &str) -> Verdict {
    let outside = asked.iter().filter(|name| !is_ours(name, domain));
    Verdict {
        unexplained: outside.filter(|name| !allowed.contains_key(*name)).cloned().collect(),
        unneeded: allowed.keys().filter(|name| !asked.contains(*name)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::{Name, QCLASS, Question};

    fn ask(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.questions.push(Question::new(Name::new_unchecked(name), QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false));
        packet.build_bytes_vec().unwrap()
    }

    #[test]
    fn the_regions_names_lead_here_and_all_others_do_not_exist() {
        let asked = Asked::default();
        let reply = answer(&ask("Account.blob.core.bleu.localhost", TYPE::A), "bleu.localhost", &asked).unwrap();
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!((reply.id(), reply.rcode(), reply.answers.len()), (7, RCODE::NoError, 1));
        assert_eq!(reply.answers[0].rdata, RData::A(A { address: 0x7f00_0001 }));

        let reply = answer(&ask("login.microsoftonline.com", TYPE::A), "bleu.localhost", &asked).unwrap();
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!((reply.rcode(), reply.answers.len()), (RCODE::NameError, 0));
        let names: Vec<String> = asked.names().into_iter().collect();
        assert_eq!(names, ["account.blob.core.bleu.localhost", "login.microsoftonline.com"]);
    }

    #[test]
    fn an_ipv6_question_about_our_names_is_answered_empty_not_denied() {
        let reply = answer(&ask("bleu.localhost", TYPE::AAAA), "bleu.localhost", &Asked::default()).unwrap();
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!((reply.rcode(), reply.answers.len()), (RCODE::NoError, 0));
    }

    #[test]
    fn noise_and_replies_are_not_answered() {
        let asked = Asked::default();
        assert_eq!(answer(b"", "bleu.localhost", &asked), None);
        assert_eq!(answer(&[0xff; 40], "bleu.localhost", &asked), None);
        assert_eq!(answer(&Packet::new_reply(1).build_bytes_vec().unwrap(), "bleu.localhost", &asked), None);
        assert!(asked.names().is_empty());
    }

    #[test]
    fn a_look_alike_domain_is_outside() {
        assert!(is_ours("bleu.localhost", "bleu.localhost") && is_ours("a.b.bleu.localhost", "bleu.localhost"));
        assert!(!is_ours("evilbleu.localhost", "bleu.localhost") && !is_ours("bleu.localhost.example", "bleu.localhost"));
    }

    #[test]
    fn the_list_must_explain_every_name_and_may_only_shrink() {
        let list = allowed("# why\nold.example  no longer asked\nknown.example  because\n").unwrap();
        let asked = ["known.example", "leak.example", "management.bleu.localhost"].map(String::from).into();
        let verdict = judge(&asked, &list, "bleu.localhost");
        assert_eq!(verdict.unexplained, ["leak.example"]);
        assert_eq!(verdict.unneeded, ["old.example"]);
        assert!(allowed("bare.example\n").is_err());
    }
}
