//! The cipher suites: AES-GCM records of TLS 1.3 (RFC 8446 5.2). rustls counts records and never uses a nonce twice.

use super::gcm::{Gcm, TAG};
use crate::sha::Kind;
use rustls::crypto::CipherSuiteCommon;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, MessageDecrypter, MessageEncrypter, Nonce,
    OutboundOpaqueMessage, OutboundPlainMessage, PrefixedPayload, Tls13AeadAlgorithm, UnsupportedOperationError,
    make_tls13_aad,
};
use rustls::crypto::tls13::HkdfUsingHmac;
use rustls::{
    CipherSuite, ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite, Tls13CipherSuite,
};

/// What is offered, the first one first: servers mostly choose by their own taste.
pub static SUITES: [SupportedCipherSuite; 2] =
    [SupportedCipherSuite::Tls13(&AES_128), SupportedCipherSuite::Tls13(&AES_256)];

static AES_128: Tls13CipherSuite = Tls13CipherSuite {
    common: CipherSuiteCommon {
        suite: CipherSuite::TLS13_AES_128_GCM_SHA256,
        hash_provider: &Kind::Sha256,
        confidentiality_limit: RECORDS,
    },
    hkdf_provider: &HkdfUsingHmac(&Kind::Sha256),
    aead_alg: &Bits::Of128,
    quic: None,
};
static AES_256: Tls13CipherSuite = Tls13CipherSuite {
    common: CipherSuiteCommon {
        suite: CipherSuite::TLS13_AES_256_GCM_SHA384,
        hash_provider: &Kind::Sha384,
        confidentiality_limit: RECORDS,
    },
    hkdf_provider: &HkdfUsingHmac(&Kind::Sha384),
    aead_alg: &Bits::Of256,
    quic: None,
};

/// Records under one key before rustls asks for a new one: RFC 8446 5.5 allows 2^24.5 full ones.
const RECORDS: u64 = 1 << 24;

enum Bits {
    Of128,
    Of256,
}

impl Bits {
    /// The key has the length that `key_len` asked for. Where it had not (rustls would be wrong), nothing is encrypted.
    fn direction(&self, key: &AeadKey, iv: Iv) -> Box<Direction> {
        Box::new(Direction { key: Gcm::new(key.as_ref()), iv })
    }
}

impl Tls13AeadAlgorithm for Bits {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        self.direction(&key, iv)
    }
    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        self.direction(&key, iv)
    }
    fn key_len(&self) -> usize {
        match self {
            Bits::Of128 => 16,
            Bits::Of256 => 32,
        }
    }
    /// Asked for by those who take the keys out of rustls (kTLS); we never do.
    fn extract_keys(&self, _: AeadKey, _: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        Err(UnsupportedOperationError)
    }
}

/// One direction of a connection, under one key.
struct Direction {
    key: Option<Gcm>,
    iv: Iv,
}

impl MessageEncrypter for Direction {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, seq: u64) -> Result<OutboundOpaqueMessage, Error> {
        let total = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(total);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&message.typ.to_array());
        let key = self.key.as_ref().ok_or(Error::EncryptError)?;
        let tag = key.seal(&Nonce::new(&self.iv, seq).0, &make_tls13_aad(total), payload.as_mut());
        payload.extend_from_slice(&tag);
        Ok(OutboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload))
    }
    fn encrypted_payload_len(&self, length: usize) -> usize {
        length.saturating_add(1 + TAG)
    }
}

impl MessageDecrypter for Direction {
    fn decrypt<'a>(
        &mut self,
        mut message: InboundOpaqueMessage<'a>,
        seq: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        let payload = &mut message.payload;
        let aad = make_tls13_aad(payload.len());
        let length = payload.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
        let (body, tag) = payload.split_at_mut_checked(length).ok_or(Error::DecryptError)?;
        let key = self.key.as_ref().ok_or(Error::DecryptError)?;
        key.open(&Nonce::new(&self.iv, seq).0, &aad, body, tag).ok_or(Error::DecryptError)?;
        payload.truncate(length);
        message.into_tls13_unpadded_message()
    }
}
