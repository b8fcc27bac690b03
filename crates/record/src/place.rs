//! The signed place of a site: where bytes are, in words that the region's key stands for.

use crate::lines::{Lines, fits};
use crate::note::{NoteSigner, SignedNote};
use base::{Error, Location, Place, Result, SiteName};

const TITLE: &str = "bleu place v1";

/// The text that is signed. Error `InvalidPlace` for a country that is not two capital letters, a NUTS code that is not
/// that country's, or an address that does not fit a line.
pub fn place_text(region: &Location, place: &Place) -> Result<String> {
    check(place)?;
    Ok(format!(
        "{TITLE}\nregion {region}\nsite {}\ncountry {}\nnuts {}\naddress {}\n",
        place.site, place.country, place.nuts, place.address
    ))
}

/// Signs the place of a site with the region's key. Errors as [`place_text`] and [`SignedNote::sign`].
pub fn sign_place(region: &Location, place: &Place, signer: &NoteSigner) -> Result<SignedNote> {
    SignedNote::sign(&place_text(region, place)?, signer)
}

/// Reads the text of a signed place, without verifying it; error `InvalidPlace`.
pub fn parse_place(text: &str) -> Result<(Location, Place)> {
    let read = || {
        let mut lines = Lines::new(text, TITLE)?;
        let region = Location::new(lines.next("region")?).ok()?;
        let site = SiteName::new(lines.next("site")?).ok()?;
        let (country, nuts, address) = (lines.next("country")?.into(), lines.next("nuts")?.into(), lines.next("address")?.into());
        lines.end().then_some((region, Place { site, country, nuts, address }))
    };
    let (region, place) = read().ok_or_else(|| invalid("it is not region, site, country, nuts and address"))?;
    if place_text(&region, &place)? != text {
        return Err(invalid("it is not in canonical form"));
    }
    Ok((region, place))
}

/// True for two capital letters (the form of ISO 3166-1 alpha-2; which codes exist changes with the world).
pub(crate) fn is_country(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase())
}

fn check(place: &Place) -> Result<()> {
    if !is_country(&place.country) {
        return Err(invalid("the country is not two capital letters").at("country"));
    }
    // NUTS begins with the country, but for Greece (EL)
    let prefix = if place.country == "GR" { "EL" } else { &place.country };
    let nuts = place.nuts.strip_prefix(prefix);
    if !nuts.is_some_and(|rest| rest.len() <= 3 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())) {
        return Err(invalid("the NUTS code is not one of the country").at("nuts"));
    }
    if !fits(&place.address) {
        return Err(invalid("the address is empty, too long, or holds a control character").at("address"));
    }
    Ok(())
}

fn invalid(why: &str) -> Error {
    Error::invalid("InvalidPlace", format!("Not the place of a site: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paris() -> Place {
        Place {
            site: SiteName::new("paris-1").unwrap(),
            country: "FR".into(),
            nuts: "FR10".into(),
            address: "1 rue de l’Exemple, Paris".into(),
        }
    }

    #[test]
    fn prints_and_parses() {
        let region = Location::new("francecentral").unwrap();
        let text = place_text(&region, &paris()).unwrap();
        assert_eq!(parse_place(&text).unwrap(), (region.clone(), paris()));
        for bad in [
            text.replace("FR10", "DE10"),
            text.replace("FR\n", "fr\n"),
            text.replace("v1", "v2"),
            format!("{text}x y\n"),
            text.trim_end().to_owned(),
        ] {
            assert_eq!(parse_place(&bad).unwrap_err().code, "InvalidPlace", "{bad:?}");
        }
        assert!(place_text(&region, &Place { address: "a\nb".into(), ..paris() }).is_err());
    }
}
