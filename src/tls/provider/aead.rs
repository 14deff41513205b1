//! The cipher suites: AES-GCM records of TLS 1.3 (RFC 8446 5.2). The cipher and the comparison of tags, in constant time,
//! are the aes-gcm crate's; rustls counts records and never uses a nonce twice.

use super::hash::Hash;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
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
        hash_provider: &Hash::Sha256,
        confidentiality_limit: RECORDS,
    },
    hkdf_provider: &HkdfUsingHmac(&Hash::Sha256),
    aead_alg: &Bits::Of128,
    quic: None,
};
static AES_256: Tls13CipherSuite = Tls13CipherSuite {
    common: CipherSuiteCommon {
        suite: CipherSuite::TLS13_AES_256_GCM_SHA384,
        hash_provider: &Hash::Sha384,
        confidentiality_limit: RECORDS,
    },
    hkdf_provider: &HkdfUsingHmac(&Hash::Sha384),
    aead_alg: &Bits::Of256,
    quic: None,
};

/// Records under one key before rustls asks for a new one: RFC 8446 5.5 allows 2^24.5 full ones.
const RECORDS: u64 = 1 << 24;
/// Bytes of a tag.
const TAG: usize = 16;

enum Bits {
    Of128,
    Of256,
}

impl Bits {
    /// The key has the length that `key_len` asked for. Where it had not (rustls would be wrong), nothing is encrypted.
    fn direction(&self, key: &AeadKey, iv: Iv) -> Box<Direction> {
        let cipher = match self {
            Bits::Of128 => Aes128Gcm::new_from_slice(key.as_ref()).map_or(Cipher::None, Cipher::Aes128),
            Bits::Of256 => Aes256Gcm::new_from_slice(key.as_ref()).map_or(Cipher::None, Cipher::Aes256),
        };
        Box::new(Direction { cipher, iv })
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

#[allow(clippy::large_enum_variant)] // both are boxed together with the iv
enum Cipher {
    None,
    Aes128(Aes128Gcm),
    Aes256(Aes256Gcm),
}

/// One direction of a connection, under one key.
struct Direction {
    cipher: Cipher,
    iv: Iv,
}

impl MessageEncrypter for Direction {
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, seq: u64) -> Result<OutboundOpaqueMessage, Error> {
        let total = self.encrypted_payload_len(message.payload.len());
        let mut payload = PrefixedPayload::with_capacity(total);
        payload.extend_from_chunks(&message.payload);
        payload.extend_from_slice(&message.typ.to_array());
        let nonce = Nonce::new(&self.iv, seq).0.into();
        let aad = make_tls13_aad(total);
        let body = payload.as_mut().into();
        let tag = match &self.cipher {
            Cipher::Aes128(c) => c.encrypt_inout_detached(&nonce, &aad, body),
            Cipher::Aes256(c) => c.encrypt_inout_detached(&nonce, &aad, body),
            Cipher::None => return Err(Error::EncryptError),
        };
        payload.extend_from_slice(&tag.map_err(|_| Error::EncryptError)?);
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
        let tag: [u8; TAG] = (&*tag).try_into().map_err(|_| Error::DecryptError)?;
        let nonce = Nonce::new(&self.iv, seq).0.into();
        let done = match &self.cipher {
            Cipher::Aes128(c) => c.decrypt_inout_detached(&nonce, &aad, body.into(), &tag.into()),
            Cipher::Aes256(c) => c.decrypt_inout_detached(&nonce, &aad, body.into(), &tag.into()),
            Cipher::None => return Err(Error::DecryptError),
        };
        done.map_err(|_| Error::DecryptError)?;
        payload.truncate(length);
        message.into_tls13_unpadded_message()
    }
}
