//! What a certificate says of itself, for people: when it is valid, who issued it, how it is signed. Whether it is to be
//! trusted is not decided by anything here.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::der::{self, Der, OCTETS, OID, SEQUENCE};
use crate::text::time;
use crate::value::Time;

/// The fields of a certificate that messages speak of.
pub struct Certificate<'a> {
    issuer: &'a [u8],
    /// Seconds since 1970 when it begins and ends to be valid.
    pub valid: [i64; 2],
    /// It is of version 1 and has no extensions.
    is_old: bool,
    /// What follows the validity.
    rest: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// From its DER (RFC 5280, 4.1).
    pub fn read(der: &'a [u8]) -> Option<Certificate<'a>> {
        let mut tbs = Der(Der(der::only(der, SEQUENCE)?).expect(SEQUENCE)?);
        let mut first = tbs.element()?;
        let is_old = first.0 != 0xa0;
        if !is_old {
            first = tbs.element()?; // the version stands in front of the serial number
        }
        let (_serial, _algorithm) = (first, tbs.expect(SEQUENCE)?);
        let issuer = tbs.expect(SEQUENCE)?;
        let mut validity = Der(tbs.expect(SEQUENCE)?);
        let valid = [seconds(validity.element()?)?, seconds(validity.element()?)?];
        Some(Certificate { issuer, valid, is_old, rest: tbs.0 })
    }

    /// The public key's frame, without the SEQUENCE around it.
    pub fn key(&self) -> Option<&'a [u8]> {
        let mut fields = Der(self.rest);
        let _subject = fields.expect(SEQUENCE)?;
        fields.expect(SEQUENCE)
    }

    /// The names it is for (RFC 5280, 4.2.1.6), those of servers and their addresses, fit for a message.
    pub fn names(&self) -> String {
        let mut all = String::new();
        let mut put = |name: &str| {
            if all.len() < 400 {
                all.push_str(if all.is_empty() { "" } else { ", " });
                all.extend(name.chars().filter(|c| c.is_ascii_graphic()));
            }
        };
        let mut names = Der(self.extension(&[0x55, 29, 17]).and_then(|der| der::only(der, SEQUENCE)).unwrap_or(&[]));
        while let Some((kind, name)) = names.element() {
            match (kind, <[u8; 4]>::try_from(name), <[u8; 16]>::try_from(name)) {
                (0x82, ..) => put(&String::from_utf8_lossy(name)),
                (0x87, Ok(ip), _) => put(&Ipv4Addr::from(ip).to_string()),
                (0x87, _, Ok(ip)) => put(&Ipv6Addr::from(ip).to_string()),
                _ => {}
            }
        }
        all
    }

    /// Whether it is an authority's (RFC 5280, 4.2.1.9), which may sign others. Those of version 1 cannot say so; who trusts
    /// one means it.
    pub fn is_authority(&self) -> bool {
        let basic = self.extension(&[0x55, 29, 19]).and_then(|der| der::only(der, SEQUENCE));
        self.is_old || basic.is_some_and(|held| held.starts_with(&[1, 1, 0xff]))
    }

    /// What this extension holds.
    fn extension(&self, wanted: &[u8]) -> Option<&'a [u8]> {
        let mut fields = Der(self.rest);
        loop {
            // Subject and key, and what only version 2 had, are in front.
            let (0xa3, all) = fields.element()? else { continue };
            let mut all = Der(der::only(all, SEQUENCE)?);
            loop {
                let mut one = Der(all.expect(SEQUENCE)?);
                if one.expect(OID)? == wanted {
                    return match one.element()? {
                        (OCTETS, held) => Some(held),
                        _ => one.expect(OCTETS), // "critical" was said
                    };
                }
            }
        }
    }

    /// The common name of who issued it, else the last part of its name, fit for a message.
    pub fn issuer(&self) -> String {
        let (mut names, mut found) = (Der(self.issuer), "");
        while let Some((_, set)) = names.element() {
            let Some(mut pair) = Der(set).expect(SEQUENCE).map(Der) else { continue };
            let (kind, value) = (pair.expect(OID), pair.element());
            found = value.and_then(|(_, v)| std::str::from_utf8(v).ok()).unwrap_or(found);
            if kind == Some(&[0x55, 4, 3]) {
                break;
            }
        }
        found.chars().filter(|c| !c.is_control()).take(100).collect()
    }
}

/// UTCTime or GeneralizedTime, both in UTC and with seconds (RFC 5280, 4.1.2.5).
fn seconds((tag, text): (u8, &[u8])) -> Option<i64> {
    let mut numbers = [0i64; 7];
    let digits = text.strip_suffix(b"Z")?;
    let (pairs, years) = (digits.len() / 2, if tag == 0x17 { 6 } else { 7 });
    if pairs != years || !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    for (i, pair) in digits.chunks_exact(2).rev().enumerate() {
        *numbers.get_mut(i)? = pair.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    }
    let [second, minute, hour, day, month, low, high] = numbers;
    let year = match years {
        6 if low >= 50 => 1900 + low,
        6 => 2000 + low,
        _ => high * 100 + low,
    };
    Some(time::days_of(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// A point in time for people.
pub fn date(secs: i64) -> String {
    time::format(Time { secs, nanos: 0 }, "2006-01-02 15:04:05 MST")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_kinds() {
        for (tag, text, want) in [
            (0x17, "700101000000Z", Some(0)),
            (0x17, "491231235959Z", Some(2_524_607_999)),
            (0x17, "500101000000Z", Some(-631_152_000)),
            (0x18, "20500101000000Z", Some(2_524_608_000)),
            (0x18, "99991231235959Z", Some(253_402_300_799)),
            (0x17, "7001010000Z", None),
            (0x17, "700101000000", None),
            (0x17, "70010100000aZ", None),
            (0x18, "", None),
        ] {
            assert_eq!(seconds((tag, text.as_bytes())), want, "{text}");
        }
        assert_eq!(date(1_700_000_000), "2023-11-14 22:13:20 UTC");
    }
}
