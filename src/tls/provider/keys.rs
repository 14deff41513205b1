//! Our private key: reading it (PKCS#8, PKCS#1, SEC1), and signing handshakes with it. A key is taken only if its halves
//! fit; a signature leaves only if it verifies. What is secret is cleared when dropped, and printed nowhere.

use super::rsa::Padding;
use super::{ecdsa, random, rsa};
use crate::sha::{self, Kind};
use crate::tls::der::{self, Der};
use crate::tls::name;
use p256::{ProjectivePoint, Scalar};
use rustls::crypto::KeyProvider;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, alg_id};
use rustls::sign::{Signer, SigningKey, public_key_to_spki};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use std::fmt;
use std::sync::Arc;
use zeroize::{Zeroize, Zeroizing};

/// Reads keys.
#[derive(Debug)]
pub struct Keys;

impl KeyProvider for Keys {
    fn load_private_key(&self, mut der: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        let read = match &der {
            PrivateKeyDer::Pkcs1(key) => rsa_key(key.secret_pkcs1_der()),
            PrivateKeyDer::Sec1(key) => ec_key(key.secret_sec1_der(), None),
            PrivateKeyDer::Pkcs8(key) => pkcs8(key.secret_pkcs8_der()),
            _ => Err(NO_KEY.into()),
        };
        der.zeroize();
        read.map(|key| Arc::new(OurKey(Arc::new(key))) as _).map_err(Error::General)
    }
}

const NO_KEY: &str = "it is no private key in PKCS#8, PKCS#1 or SEC1";
const WRONG_RSA: &str = "the RSA key has less than 2048 or more than 8192 bits, or its parts do not fit together";
const WRONG_EC: &str = "the parts of the key do not fit together";

/// Both halves of a key.
enum Pair {
    Ec(Zeroizing<Scalar>, ecdsa::Point),
    Rsa(rsa::Private),
}

/// RFC 5208 and RFC 5958: a version, the algorithm, the key in its own encoding, and attributes or the public half, which
/// tell nothing that the key does not.
fn pkcs8(key: &[u8]) -> Result<Pair, String> {
    let parts = || {
        let mut der = Der(der::only(key, der::SEQUENCE)?);
        let version = der.unsigned()?;
        let algorithm = der.expect(der::SEQUENCE)?;
        let key = der.expect(der::OCTETS)?;
        while der.end().is_none() {
            der.element().filter(|(tag, _)| matches!(tag, 0xa0 | 0x81))?;
        }
        matches!(version, [] | [1]).then_some((algorithm, key))
    };
    let (algorithm, key) = parts().ok_or(NO_KEY)?;
    if algorithm == alg_id::RSA_ENCRYPTION.as_ref() {
        return rsa_key(key);
    }
    let mut id = Der(algorithm);
    match (id.expect(der::OID), id.expect(der::OID), id.end()) {
        (Some(EC_KEY), Some(curve), Some(())) => ec_key(key, Some(curve)),
        _ => Err(unsupported(algorithm)),
    }
}

/// 1.2.840.10045.2.1, ecPublicKey.
const EC_KEY: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
/// 1.2.840.10045.3.1.7, P-256.
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";

fn unsupported(algorithm: &[u8]) -> String {
    ["the key is for ", &name::algorithm(algorithm), "; pilotfish signs by ECDSA with P-256 and by RSA"].concat()
}

fn rsa_key(key: &[u8]) -> Result<Pair, String> {
    rsa::Private::new(key).map(Pair::Rsa).ok_or_else(|| WRONG_RSA.into())
}

/// RFC 5915: version 1, the number, the curve where PKCS#8 has not said it, the public half if it is there.
fn ec_key(key: &[u8], outer: Option<&[u8]>) -> Result<Pair, String> {
    let parts = || {
        let mut der = Der(der::only(key, der::SEQUENCE)?);
        let (version, number) = (der.unsigned()?, der.expect(der::OCTETS)?);
        let (mut curve, mut public) = (None, None);
        let mut last = 0xa0;
        while der.end().is_none() {
            let (tag, content) = der.element().filter(|(tag, _)| *tag >= last)?;
            match tag {
                0xa0 => curve = Some(der::only(content, der::OID)?),
                // A BIT STRING begins with the number of bits that are not used.
                0xa1 => public = Some(der::only(content, 3)?.strip_prefix(&[0])?),
                _ => return None,
            }
            last = tag.wrapping_add(1);
        }
        (version == [1]).then_some((number, curve, public))
    };
    let (number, inner, public) = parts().ok_or(NO_KEY)?;
    // Without a name of the curve the key's length stands for it.
    for curve in [outer, inner].into_iter().flatten() {
        if curve != P256 {
            let mut id = Vec::new();
            der::write(&mut id, der::OID, EC_KEY);
            der::write(&mut id, der::OID, curve);
            return Err(unsupported(&id));
        }
    }
    let private = Zeroizing::new(ecdsa::scalar(number).ok_or(WRONG_EC)?);
    let point = ecdsa::encode(&ProjectivePoint::GENERATOR.mul(&private));
    // A compressed public half (33 bytes) is not compared.
    if public.is_some_and(|public| public.len() != 33 && public != point) {
        return Err(WRONG_EC.into());
    }
    Ok(Pair::Ec(private, point))
}

struct OurKey(Arc<Pair>);

impl SigningKey for OurKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let ours: &[SignatureScheme] = match *self.0 {
            Pair::Ec(..) => &[SignatureScheme::ECDSA_NISTP256_SHA256],
            Pair::Rsa(_) => {
                &[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PSS_SHA384, SignatureScheme::RSA_PSS_SHA512]
            }
        };
        let scheme = *ours.iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(OurSigner { pair: self.0.clone(), scheme }))
    }
    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(match &*self.0 {
            Pair::Ec(_, point) => public_key_to_spki(&alg_id::ECDSA_P256, point),
            Pair::Rsa(key) => public_key_to_spki(&alg_id::RSA_ENCRYPTION, key.public.encode()),
        })
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        match *self.0 {
            Pair::Ec(..) => SignatureAlgorithm::ECDSA,
            Pair::Rsa(_) => SignatureAlgorithm::RSA,
        }
    }
}

struct OurSigner {
    pair: Arc<Pair>,
    scheme: SignatureScheme,
}

impl Signer for OurSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let hash = match self.scheme {
            SignatureScheme::RSA_PSS_SHA384 => Kind::Sha384,
            SignatureScheme::RSA_PSS_SHA512 => Kind::Sha512,
            _ => Kind::Sha256,
        };
        let digest = sha::digest(hash, &[message]);
        let random = [random::bytes32()?, random::bytes32()?].concat();
        let random = random.get(..hash.size()).unwrap_or_default();
        let signature = match &*self.pair {
            Pair::Ec(key, point) => ecdsa::sign(key, digest.bytes(), random)
                .filter(|signature| ecdsa::verify(point, digest.bytes(), signature).is_some()),
            Pair::Rsa(key) => key
                .sign(hash, digest.bytes(), random)
                .filter(|signature| key.public.verify(Padding::Pss, hash, digest.bytes(), signature).is_some()),
        };
        signature.ok_or_else(|| Error::General("our own signature does not verify".to_string()))
    }
    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

impl fmt::Debug for OurKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("key")
    }
}

impl fmt::Debug for OurSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("key")
    }
}
