//! The algorithms beside published vectors: Wycheproof's, which are made to find mistakes, and the RFCs'. What a test
//! takes of them is counted, so that an empty run is no success.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::gcm::Gcm;
use super::hash::Hmac;
use super::rsa::{Padding, Public};
use super::{ecdsa, exchange, p384};
use crate::sha::{self, Kind};
use crate::tls::der;
use rustls::crypto::tls13::{Hkdf, HkdfUsingHmac};
use wycheproof::{TestResult, aead, ecdh, ecdsa as ecdsa_vectors, hkdf, mac, rsa_pkcs1_verify, rsa_pss_verify, xdh};

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// A vector that may be refused (`acceptable`) is not compared, but must not end the test either.
fn compare(what: &str, id: usize, comment: &str, wanted: TestResult, got: bool) {
    let is_right = match wanted {
        TestResult::Valid => got,
        TestResult::Invalid => !got,
        TestResult::Acceptable => true,
    };
    assert!(is_right, "{what} {id} ({comment}): wanted {wanted:?}, taken: {got}");
}

#[test]
fn aes_gcm() {
    let mut count = 0;
    for group in aead::TestSet::load(aead::TestName::AesGcm).unwrap().test_groups {
        // TLS knows these sizes only.
        if ![128, 256].contains(&group.key_size) || group.nonce_size != 96 || group.tag_size != 128 {
            continue;
        }
        for t in group.tests {
            let nonce: [u8; 12] = t.nonce[..].try_into().unwrap();
            let key = Gcm::new(&t.key).unwrap();
            let mut data = t.ct.to_vec();
            let opened = key.open(&nonce, &t.aad, &mut data, &t.tag).is_some();
            compare("AES-GCM", t.tc_id, &t.comment, t.result, opened && data == t.pt[..]);
            // What is refused stays as it came.
            assert!(opened || data == t.ct[..]);
            if t.result == TestResult::Valid {
                let mut data = t.pt.to_vec();
                let tag = key.seal(&nonce, &t.aad, &mut data);
                assert!(data == t.ct[..] && tag[..] == t.tag[..], "{}", t.tc_id);
            }
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

/// Vectors are short; this goes through several chunks of the key stream, and every length around their ends.
#[test]
fn long_records_come_back_and_no_other() {
    let plain: Vec<u8> = (0..16_400u32).map(|i| (i * 13) as u8).collect();
    for key in [&[7; 16][..], &[9; 32]] {
        let key = Gcm::new(key).unwrap();
        let mut whole = plain.clone();
        key.seal(&[1; 12], b"aad", &mut whole);
        for length in (0..200).chain(500..530).chain(1000..1040).chain(16_380..=16_400) {
            let mut data = plain[..length].to_vec();
            let tag = key.seal(&[1; 12], b"aad", &mut data);
            // The key stream does not depend on the length.
            assert!(data == whole[..length], "{length}");
            for (wrong_nonce, aad, flip) in [(2, &b"aad"[..], 0), (1, b"aae", 0), (1, b"", 0), (1, b"aad", 1)] {
                let mut tag = tag;
                tag[length % 16] ^= flip;
                assert!(key.open(&[wrong_nonce; 12], aad, &mut data.clone(), &tag).is_none(), "{length}");
            }
            assert!(key.open(&[1; 12], b"aad", &mut data, &tag[..15]).is_none());
            assert!(key.open(&[1; 12], b"aad", &mut data, &tag).is_some() && data == plain[..length], "{length}");
        }
    }
    assert!(Gcm::new(&[0; 24]).is_none() && Gcm::new(&[]).is_none());
}

#[test]
fn hmac() {
    for (name, kind) in [
        (mac::TestName::HmacSha256, Kind::Sha256),
        (mac::TestName::HmacSha384, Kind::Sha384),
        (mac::TestName::HmacSha512, Kind::Sha512),
    ] {
        let mut count = 0;
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for t in group.tests {
                let code = Hmac::new(kind, &t.key).of(&[&t.msg]);
                compare("HMAC", t.tc_id, &t.comment, t.result, code.bytes().starts_with(&t.tag));
                count += 1;
            }
        }
        assert!(count > 100, "{count}");
    }
}

#[test]
fn hkdf_by_rustls_over_our_hmac() {
    for (name, kind) in [(hkdf::TestName::HkdfSha256, &Kind::Sha256), (hkdf::TestName::HkdfSha384, &Kind::Sha384)] {
        let mut count = 0;
        for group in hkdf::TestSet::load(name).unwrap().test_groups {
            for t in group.tests {
                let salt = if t.salt.is_empty() { None } else { Some(&t.salt[..]) };
                let mut out = vec![0; t.size];
                let done = HkdfUsingHmac(kind).extract_from_secret(salt, &t.ikm).expand_slice(&[&t.info], &mut out);
                compare("HKDF", t.tc_id, &t.comment, t.result, done.is_ok() && out == t.okm[..]);
                count += 1;
            }
        }
        assert!(count > 50, "{count}");
    }
}

#[test]
fn x25519() {
    let mut count = 0;
    for group in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups {
        for t in group.tests {
            let private: [u8; 32] = t.private_key[..].try_into().unwrap();
            let got = exchange::x25519(&private, &t.public_key);
            // All zeros have to be refused in TLS, which the vectors leave open.
            let wanted = if t.shared_secret.iter().all(|b| *b == 0) { TestResult::Invalid } else { TestResult::Valid };
            let wanted = if t.public_key.len() == 32 { wanted } else { TestResult::Invalid };
            compare("X25519", t.tc_id, &t.comment, wanted, got.is_ok_and(|s| s[..] == t.shared_secret[..]));
            count += 1;
        }
    }
    assert!(count > 500, "{count}");
}

#[test]
fn ecdh_with_p256() {
    let mut count = 0;
    for group in ecdh::TestSet::load(ecdh::TestName::EcdhSecp256r1Ecpoint).unwrap().test_groups {
        for t in group.tests {
            // The number may have a leading zero, or too few bytes.
            let number = t.private_key.iter().rev().take(32).rev().copied().collect::<Vec<u8>>();
            let private = ecdsa::scalar(&[vec![0; 32 - number.len()], number].concat()).unwrap();
            let got = exchange::ecdh(&private, &t.public_key).is_ok_and(|s| s[..] == t.shared_secret[..]);
            // TLS has no compressed points.
            let is_whole = t.public_key.first() == Some(&4);
            compare("ECDH", t.tc_id, &t.comment, if is_whole { t.result } else { TestResult::Invalid }, got);
            count += 1;
        }
    }
    assert!(count > 200, "{count}");
}

#[test]
fn ecdsa_with_p256() {
    for (name, kind) in [
        (ecdsa_vectors::TestName::EcdsaSecp256r1Sha256, Kind::Sha256),
        (ecdsa_vectors::TestName::EcdsaSecp256r1Sha512, Kind::Sha512),
    ] {
        let mut count = 0;
        for group in ecdsa_vectors::TestSet::load(name).unwrap().test_groups {
            for t in group.tests {
                let digest = sha::digest(kind, &[&t.msg]);
                let got = ecdsa::verify(&group.key.key, digest.bytes(), &t.sig).is_some();
                compare("ECDSA", t.tc_id, &t.comment, t.result, got);
                count += 1;
            }
        }
        assert!(count > 400, "{count}");
    }
}

#[test]
fn ecdsa_with_p384() {
    let mut found = 0;
    for (name, kind) in [
        (ecdsa_vectors::TestName::EcdsaSecp384r1Sha256, Kind::Sha256),
        (ecdsa_vectors::TestName::EcdsaSecp384r1Sha384, Kind::Sha384),
        (ecdsa_vectors::TestName::EcdsaSecp384r1Sha512, Kind::Sha512),
    ] {
        let mut count = 0;
        for group in ecdsa_vectors::TestSet::load(name).unwrap().test_groups {
            for t in group.tests {
                let digest = sha::digest(kind, &[&t.msg]);
                let got = p384::verify(&group.key.key, digest.bytes(), &t.sig).is_some();
                compare("ECDSA", t.tc_id, &t.comment, t.result, got);
                count += 1;
                found += usize::from(got);
            }
        }
        assert!(count > 400, "{count}");
    }
    assert!(found > 300, "{found}");
}

/// RFC 6979 A.2.5: the nonce, and with it the whole signature, follows from the key and the message.
#[test]
fn ecdsa_of_rfc_6979() {
    let private = unhex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721");
    let public = unhex(
        "04 60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
         7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
    );
    let private = ecdsa::scalar(&private).unwrap();
    assert_eq!(ecdsa::encode(&p256::ProjectivePoint::GENERATOR.mul(&private))[..], public);
    for (kind, message, r, s) in [
        (
            Kind::Sha256,
            "sample",
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
        ),
        (
            Kind::Sha256,
            "test",
            "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
            "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
        ),
        (
            Kind::Sha384,
            "sample",
            "0EAFEA039B20E9B42309FB1D89E213057CBF973DC0CFC8F129EDDDC800EF7719",
            "4861F0491E6998B9455193E34E7B0D284DDD7149A74B95B9261F13ABDE940954",
        ),
        (
            Kind::Sha512,
            "sample",
            "8496A60B5E9B47C825488827E0495B0E3FA109EC4568FD3F8D1097678EB97F00",
            "2362AB1ADBE2B8ADF9CB9EDAB740EA6049C028114F2460F96554F61FAE3302FE",
        ),
    ] {
        let (mut pair, mut wanted) = (Vec::new(), Vec::new());
        der::write_unsigned(&mut pair, &unhex(r));
        der::write_unsigned(&mut pair, &unhex(s));
        der::write(&mut wanted, der::SEQUENCE, &pair);
        let digest = sha::digest(kind, &[message.as_bytes()]);
        assert!(ecdsa::verify(&public, digest.bytes(), &wanted).is_some(), "{message}");
        if kind == Kind::Sha256 {
            assert_eq!(ecdsa::sign(&private, digest.bytes(), b"").unwrap(), wanted, "{message}");
            let hedged = ecdsa::sign(&private, digest.bytes(), b"entropy").unwrap();
            assert!(hedged != wanted && ecdsa::verify(&public, digest.bytes(), &hedged).is_some());
        }
        wanted[40] ^= 1;
        assert!(ecdsa::verify(&public, digest.bytes(), &wanted).is_none());
    }
}

#[test]
fn rsa_pkcs1() {
    use rsa_pkcs1_verify::TestName::*;
    for (name, kind) in [
        (Rsa2048Sha256, Kind::Sha256),
        (Rsa2048Sha384, Kind::Sha384),
        (Rsa2048Sha512, Kind::Sha512),
        (Rsa3072Sha256, Kind::Sha256),
        (Rsa3072Sha384, Kind::Sha384),
        (Rsa3072Sha512, Kind::Sha512),
        (Rsa4096Sha256, Kind::Sha256),
        (Rsa4096Sha384, Kind::Sha384),
        (Rsa4096Sha512, Kind::Sha512),
        (Rsa8192Sha256, Kind::Sha256),
    ] {
        let mut count = 0;
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let key = Public::new(&group.asn_key);
            for t in group.tests {
                let digest = sha::digest(kind, &[&t.msg]);
                let verify = |key: &Public| key.verify(Padding::Pkcs1, kind, digest.bytes(), &t.sig);
                compare("RSA", t.tc_id, &t.comment, t.result, key.as_ref().and_then(verify).is_some());
                count += 1;
            }
        }
        assert!(count > 200, "{count}");
    }
}

#[test]
fn rsa_pss() {
    use rsa_pss_verify::TestName::*;
    let mut count = 0;
    for (name, kind) in [
        (RsaPss2048Sha256Mgf1SaltLen32, Kind::Sha256),
        (RsaPss2048Sha384Mgf1SaltLen48, Kind::Sha384),
        (RsaPss3072Sha256Mgf1SaltLen32, Kind::Sha256),
        (RsaPss4096Sha256Mgf1SaltLen32, Kind::Sha256),
        (RsaPss4096Sha384Mgf1SaltLen48, Kind::Sha384),
        (RsaPss4096Sha512Mgf1SaltLen64, Kind::Sha512),
        // Salts of another length than TLS has: all are refused but the ones that are said to have ours by mistake.
        (RsaPss2048Sha256Mgf1SaltLen0, Kind::Sha256),
        (RsaPss4096Sha512Mgf1SaltLen32, Kind::Sha512),
        (RsaPss2048Sha256Mgf1Sha1_20, Kind::Sha256),
    ] {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let key = Public::new(&group.asn_key).unwrap();
            for t in group.tests {
                let digest = sha::digest(kind, &[&t.msg]);
                let got = key.verify(Padding::Pss, kind, digest.bytes(), &t.sig).is_some();
                let ours = format!("s_len changed to {}", kind.size());
                let wanted = match group.salt_size == kind.size() {
                    true => t.result,
                    false if t.comment == ours && name != RsaPss2048Sha256Mgf1Sha1_20 => TestResult::Valid,
                    false => TestResult::Invalid,
                };
                compare("PSS", t.tc_id, &t.comment, wanted, got);
                count += 1;
            }
        }
    }
    assert!(count > 500, "{count}");
}
