//! The server's half of TLS 1.3, one step at a time, so that a server can misbehave behind the point from where on all
//! is encrypted. It keeps to no order and checks nothing: whoever uses it decides what is said next. The parts that
//! compute are those of pilotfish's provider; that they are right is shown elsewhere, against OpenSSL.

use rustls::crypto::CryptoProvider;
use rustls::crypto::cipher::{Iv, MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::crypto::tls13::{HkdfExpander, OkmBlock};
use rustls::sign::SigningKey;
use rustls::{ContentType, NamedGroup, ProtocolVersion, SignatureScheme, SupportedCipherSuite, Tls13CipherSuite};

pub const ALERT: u8 = 21;
pub const HANDSHAKE: u8 = 22;
pub const DATA: u8 = 23;
pub const CHANGE_CIPHER_SPEC: u8 = 20;

pub const NEW_SESSION_TICKET: u8 = 4;
pub const ENCRYPTED_EXTENSIONS: u8 = 8;
pub const CERTIFICATE: u8 = 11;
pub const CERTIFICATE_REQUEST: u8 = 13;
pub const CERTIFICATE_VERIFY: u8 = 15;
pub const FINISHED: u8 = 20;
pub const KEY_UPDATE: u8 = 24;

/// TLS_AES_256_GCM_SHA384: the suite whose keys have the length that `AeadKey` can be made of from outside.
const SUITE: u16 = 0x1302;
const X25519: u16 = 29;

/// The server behind its ServerHello.
pub struct Peer {
    suite: &'static Tls13CipherSuite,
    /// Every handshake message so far.
    transcript: Vec<u8>,
    handshake: Box<dyn HkdfExpander>,
    /// What the keys in use are made of.
    secret: OkmBlock,
    seal: Box<dyn MessageEncrypter>,
    sent: u64,
}

/// A record as it stands on the wire, nothing encrypted.
pub fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// A handshake message: its kind and length in front.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes()[1..], body].concat()
}

/// The message of the server's certificates.
pub fn certificate(chain: &[Vec<u8>]) -> Vec<u8> {
    let mut list = Vec::new();
    for der in chain {
        list.extend_from_slice(&(der.len() as u32).to_be_bytes()[1..]);
        list.extend_from_slice(der);
        list.extend_from_slice(&[0, 0]);
    }
    message(CERTIFICATE, &[&[0][..], &(list.len() as u32).to_be_bytes()[1..], &list].concat())
}

/// What of a ClientHello (a handshake message) is needed: the session's id and the client's share of X25519.
fn read_hello(hello: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = hello.get(4 + 2 + 32..)?;
    let mut take = |wide: usize| -> Option<&[u8]> {
        let (length, behind) = rest.split_at_checked(wide)?;
        let length = length.iter().fold(0, |n, b| n << 8 | usize::from(*b));
        let (content, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some(content)
    };
    let session = take(1)?;
    let (_suites, _compression) = (take(2)?, take(1)?);
    let mut extensions = take(2)?;
    while let Some((head, behind)) = extensions.split_at_checked(4) {
        let (content, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        if head[..2] == [0, 51] {
            let mut shares = content.get(2..)?;
            while let Some((head, behind)) = shares.split_at_checked(4) {
                let (share, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
                if head[..2] == X25519.to_be_bytes() {
                    return Some((session, share));
                }
                shares = behind;
            }
        }
        extensions = behind;
    }
    None
}

/// The ServerHello that accepts this client with this share (32 bytes).
pub fn server_hello(session: &[u8], share: &[u8]) -> Vec<u8> {
    let extensions = [&[0, 43, 0, 2, 3, 4, 0, 51, 0, 36, 0, 29, 0, 32][..], share].concat();
    let body = [
        &[3, 3][..],
        &[0x5a; 32],
        &[session.len() as u8],
        session,
        &SUITE.to_be_bytes(),
        &[0],
        &(extensions.len() as u16).to_be_bytes(),
        &extensions,
    ];
    message(2, &body.concat())
}

impl Peer {
    /// Answers a ClientHello (the message, without its record) with the record of a ServerHello; behind it all that
    /// this peer says is encrypted.
    pub fn answer(provider: &CryptoProvider, hello: &[u8]) -> Option<(Peer, Vec<u8>)> {
        let (session, share) = read_hello(hello)?;
        let suite = provider.cipher_suites.iter().find_map(|s| match s {
            SupportedCipherSuite::Tls13(s) if u16::from(s.common.suite) == SUITE => Some(*s),
            _ => None,
        })?;
        let group = provider.kx_groups.iter().find(|g| g.name() == NamedGroup::X25519)?;
        let exchange = group.start().ok()?;
        let said = server_hello(session, exchange.pub_key());
        let shared = exchange.complete(share).ok()?;
        let hkdf = suite.hkdf_provider;
        let early = hkdf.extract_from_zero_ikm(None);
        let nothing = suite.common.hash_provider.hash(&[]);
        let salt = expand(&*early, "derived", nothing.as_ref());
        let handshake = hkdf.extract_from_secret(Some(salt.as_ref()), shared.secret_bytes());
        let transcript = [hello, &said].concat();
        let hash = suite.common.hash_provider.hash(&transcript);
        let secret = expand(&*handshake, "s hs traffic", hash.as_ref());
        let seal = encrypter(suite, &secret);
        let peer = Peer { suite, transcript, handshake, secret, seal, sent: 0 };
        Some((peer, record(HANDSHAKE, &said)))
    }

    /// An encrypted record of this kind. More than 16 KiB make one that is longer than TLS allows.
    pub fn seal(&mut self, kind: u8, bytes: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(bytes);
        let plain = OutboundPlainMessage { typ: ContentType::from(kind), version: ProtocolVersion::TLSv1_3, payload };
        let sealed = self.seal.encrypt(plain, self.sent).expect("a sealed record");
        self.sent += 1;
        sealed.encode()
    }

    /// A handshake message as one encrypted record; it counts for what is signed and confirmed later.
    pub fn say(&mut self, message: &[u8]) -> Vec<u8> {
        self.transcript.extend_from_slice(message);
        self.seal(HANDSHAKE, message)
    }

    /// The message that proves that we have the key of the certificate.
    pub fn verify(&self, key: &dyn SigningKey) -> Vec<u8> {
        let schemes =
            [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ED25519];
        let signer = key.choose_scheme(&schemes).expect("a scheme");
        let mut signed = vec![0x20; 64];
        signed.extend_from_slice(b"TLS 1.3, server CertificateVerify\0");
        signed.extend_from_slice(self.hash().as_ref());
        let signature = signer.sign(&signed).expect("a signature");
        let scheme = u16::from(signer.scheme()).to_be_bytes();
        message(CERTIFICATE_VERIFY, &[&scheme[..], &(signature.len() as u16).to_be_bytes(), &signature].concat())
    }

    /// The message that ends the server's part of the handshake.
    pub fn finished(&self) -> Vec<u8> {
        let hkdf = self.suite.hkdf_provider;
        let key = expand(&*hkdf.expander_for_okm(&self.secret), "finished", &[]);
        message(FINISHED, hkdf.hmac_sign(&key, self.hash().as_ref()).as_ref())
    }

    /// From here on with the keys for data; all that was said before counts.
    pub fn switch(&mut self) {
        let hkdf = self.suite.hkdf_provider;
        let nothing = self.suite.common.hash_provider.hash(&[]);
        let salt = expand(&*self.handshake, "derived", nothing.as_ref());
        // Its input is as many zeros as a hash is long: what extracting from nothing means.
        let master = hkdf.extract_from_zero_ikm(Some(salt.as_ref()));
        self.secret = expand(&*master, "s ap traffic", self.hash().as_ref());
        self.seal = encrypter(self.suite, &self.secret);
        self.sent = 0;
    }

    /// A whole flight, as a good server with this chain and key sends it: all is ready for data.
    pub fn good_flight(&mut self, chain: &[Vec<u8>], key: &dyn SigningKey) -> Vec<u8> {
        let mut out = self.say(&message(ENCRYPTED_EXTENSIONS, &[0, 0]));
        out.extend(self.say(&certificate(chain)));
        let verify = self.verify(key);
        out.extend(self.say(&verify));
        let finished = self.finished();
        out.extend(self.say(&finished));
        self.switch();
        out
    }

    fn hash(&self) -> rustls::crypto::hash::Output {
        self.suite.common.hash_provider.hash(&self.transcript)
    }
}

/// HKDF-Expand-Label of RFC 8446, 7.1, for an output as long as a hash.
fn expand(expander: &dyn HkdfExpander, label: &str, context: &[u8]) -> OkmBlock {
    let mut out = [0; 64];
    let length = expander.hash_len();
    fill(expander, label, context, &mut out[..length]);
    OkmBlock::new(&out[..length])
}

fn fill(expander: &dyn HkdfExpander, label: &str, context: &[u8], out: &mut [u8]) {
    let (length, name, context_length) =
        ((out.len() as u16).to_be_bytes(), [(6 + label.len()) as u8], [context.len() as u8]);
    let info = [&length[..], &name, b"tls13 ", label.as_bytes(), &context_length, context];
    expander.expand_slice(&info, out).expect("a short output");
}

fn encrypter(suite: &'static Tls13CipherSuite, secret: &OkmBlock) -> Box<dyn MessageEncrypter> {
    let expander = suite.hkdf_provider.expander_for_okm(secret);
    let (mut key, mut iv) = ([0; 32], [0; 12]);
    fill(&*expander, "key", &[], &mut key);
    fill(&*expander, "iv", &[], &mut iv);
    suite.aead_alg.encrypter(key.into(), Iv::from(iv))
}
