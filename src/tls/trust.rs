//! Whether the server's certificate is to be believed: its chain by webpki, against the authorities that were read, at
//! this time and for the name that was called; and what to show a server that asks for a certificate. Why a certificate
//! is refused is kept in words, as the errors of TLS know no names and no dates.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use super::certificate::{Certificate, date};
use super::name;
use crate::sha::{self, Digest, Kind};
use crate::text::fill;

/// What was read from files: it is the same for all connections until a file changes.
pub struct Anchors {
    /// Who may sign the certificates of servers.
    pub roots: Vec<TrustAnchor<'static>>,
    /// SHA-256 of every trusted certificate, also of those that may sign no other.
    pub own: Vec<Digest>,
    /// Where they are from, for people.
    pub shown: String,
    /// What we show.
    pub identity: Option<Arc<CertifiedKey>>,
    /// What can be verified.
    pub algorithms: WebPkiSupportedAlgorithms,
    /// Any server will do.
    pub is_open: bool,
}

/// The judgement over one server.
pub struct Trust {
    anchors: Arc<Anchors>,
    /// The name that was called, as it stands in messages.
    name: String,
    /// Why the certificate was refused.
    said: Mutex<String>,
    /// The server asked for a certificate.
    asked: AtomicBool,
    /// Seconds since 1970 when the server's certificate begins and ends to be valid, once it was shown.
    pub valid: [AtomicI64; 2],
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// For one connection to the server of this name.
    pub fn new(anchors: Arc<Anchors>, name: &str) -> Trust {
        let valid = [AtomicI64::new(0), AtomicI64::new(0)];
        Trust { anchors, name: name.to_string(), said: Mutex::default(), asked: AtomicBool::new(false), valid }
    }

    /// Why the certificate was refused.
    pub fn said(&self) -> String {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The certificate, for messages which do not say what server they are of.
    pub fn whose(&self) -> String {
        fill("the certificate of %", &[&self.name])
    }

    /// Whether the server asked for a certificate, and whether it was shown one.
    pub fn shown(&self) -> Option<bool> {
        self.asked.load(Ordering::Relaxed).then_some(self.anchors.identity.is_some())
    }

    #[inline(never)]
    fn check(
        &self,
        der: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let cert = EndEntityCert::try_from(der)?;
        if self.anchors.is_open {
            return Ok(());
        }
        // A certificate that is itself among the trusted needs no signature, and may be that of an authority. Itself: what
        // only has its name and key could have other names, or a longer time, than were agreed to.
        let digest = sha::digest(Kind::Sha256, &[der]);
        if self.anchors.own.iter().any(|own| own.bytes() == digest.bytes()) {
            let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            let [begin, end] = Certificate::read(der).ok_or(webpki::Error::BadDer)?.valid;
            if now > end {
                return Err(webpki::Error::CertExpired { time: UnixTime::now(), not_after: time(end) });
            }
            if now < begin {
                return Err(webpki::Error::CertNotValidYet { time: UnixTime::now(), not_before: time(begin) });
            }
        } else {
            let usage = KeyUsage::server_auth();
            let (algorithms, roots) = (self.anchors.algorithms.all, &self.anchors.roots);
            cert.verify_for_usage(algorithms, roots, others, now, usage, None, None)?;
        }
        cert.verify_is_valid_for_subject_name(name)
    }

    /// The same in words, and as what the server is told.
    #[inline(never)]
    fn words(&self, der: &[u8], e: webpki::Error) -> (String, CertificateError) {
        use webpki::Error as E;
        let say = |pattern: &str, words: &[&str]| fill(pattern, words);
        let whose = |end: UnixTime, i: usize| {
            let own = Certificate::read(der).and_then(|c| c.valid.get(i).copied());
            if own == i64::try_from(end.as_secs()).ok() {
                "the server's certificate"
            } else {
                "a certificate above the server's"
            }
        };
        let secs = |t: UnixTime| date(i64::try_from(t.as_secs()).unwrap_or(0));
        let unsupported = |what: &[u8]| {
            let text = "the server's certificate, or one above it, is signed with %, which pilotfish does not verify";
            (say(text, &[&name::algorithm(what)]), CertificateError::UnknownIssuer)
        };
        match e {
            E::CertNotValidForName(_) => {
                let names = Certificate::read(der).map(|c| c.names()).unwrap_or_default();
                let names = if names.is_empty() { "no name at all" } else { &names };
                let text = "the server's certificate is not for % but for %";
                (say(text, &[&self.name, names]), CertificateError::NotValidForName)
            }
            E::CertExpired { not_after, .. } => {
                (say("% expired on %", &[whose(not_after, 1), &secs(not_after)]), CertificateError::Expired)
            }
            E::CertNotValidYet { not_before, .. } => {
                let text = "% is not valid before % (is the clock of this machine right?)";
                (say(text, &[whose(not_before, 0), &secs(not_before)]), CertificateError::NotValidYet)
            }
            E::UnknownIssuer => {
                let issuer = Certificate::read(der).map(|c| c.issuer()).unwrap_or_default();
                let text = "the server's certificate was issued by \"%\", which is not trusted (trusted: %%)";
                let alone = match self.anchors.own.len() > self.anchors.roots.len() {
                    true => "; what is no authority's certificate there vouches for itself alone",
                    false => "",
                };
                (say(text, &[&issuer, &self.anchors.shown, alone]), CertificateError::UnknownIssuer)
            }
            E::RequiredEkuNotFoundContext(_) => {
                ("the server's certificate is not one for servers".to_string(), CertificateError::InvalidPurpose)
            }
            E::CaUsedAsEndEntity => {
                let text = "the server shows the certificate of an authority as its own; if it is the right one, name it as the CA";
                (text.to_string(), CertificateError::InvalidPurpose)
            }
            E::EndEntityUsedAsCa | E::PathLenConstraintViolated => {
                let text = "the server's certificate is signed by one whose own certificate does not allow that";
                (text.to_string(), CertificateError::UnknownIssuer)
            }
            E::UnsupportedSignatureAlgorithmContext(c) => unsupported(&c.signature_algorithm_id),
            E::UnsupportedSignatureAlgorithmForPublicKeyContext(c) => unsupported(&c.public_key_algorithm_id),
            // Mostly an authority that was made anew under its old name.
            E::InvalidSignatureForPublicKey => {
                let text = "the server's certificate, or one above it, names an authority that is trusted but is not \
                            signed by its key, or that is an RSA key of less than 2,048 bits (trusted: %)";
                (say(text, &[&self.anchors.shown]), CertificateError::BadSignature)
            }
            E::NameConstraintViolation => (
                "the server's certificate is for a name its authority may not sign".to_string(),
                CertificateError::NotValidForName,
            ),
            E::UnsupportedCertVersion => (
                "the server's certificate is of version 1; it must be of version 3".to_string(),
                CertificateError::BadEncoding,
            ),
            E::MaximumPathBuildCallsExceeded | E::MaximumPathDepthExceeded | E::MaximumSignatureChecksExceeded => {
                ("the server shows too long a chain of certificates".to_string(), CertificateError::UnknownIssuer)
            }
            E::UnsupportedCriticalExtension => (
                "the server's certificate has a critical extension which pilotfish does not know".to_string(),
                CertificateError::UnhandledCriticalExtension,
            ),
            _ => ("the server's certificate is malformed".to_string(), CertificateError::BadEncoding),
        }
    }
}

fn time(secs: i64) -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(secs).unwrap_or(0)))
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(cert) = Certificate::read(end_entity) {
            for (held, new) in self.valid.iter().zip(cert.valid) {
                held.store(new, Ordering::Relaxed);
            }
        }
        let checked = self.check(end_entity, intermediates, server_name, now);
        checked.map(|()| ServerCertVerified::assertion()).map_err(|e| {
            let (text, told) = self.words(end_entity, e);
            *self.said.lock().unwrap_or_else(PoisonError::into_inner) = text;
            Error::InvalidCertificate(told)
        })
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    /// Also without any trust: who answers has the key of the certificate it shows.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        use SignatureScheme as S;
        // PKCS #1 v1.5 is for certificates only (RFC 8446, 4.2.3).
        let is_old = matches!(dss.scheme, S::RSA_PKCS1_SHA256 | S::RSA_PKCS1_SHA384 | S::RSA_PKCS1_SHA512);
        let mut known = self.anchors.algorithms.mapping.iter().filter(|_| !is_old);
        let algorithm = known.find(|(scheme, _)| *scheme == dss.scheme).and_then(|(_, all)| all.first());
        let cert = EndEntityCert::try_from(cert).ok();
        match (cert, algorithm) {
            (Some(cert), Some(algorithm)) if cert.verify_signature(*algorithm, message, dss.signature()).is_ok() => {
                Ok(HandshakeSignatureValid::assertion())
            }
            _ => {
                let text = "the server has not the key of the certificate it shows, or that is an RSA key of less than \
                            2,048 bits";
                *self.said.lock().unwrap_or_else(PoisonError::into_inner) = text.to_string();
                Err(Error::InvalidCertificate(CertificateError::BadSignature))
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.anchors.algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Trust {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.anchors.identity.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
