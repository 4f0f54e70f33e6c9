//! Certificates, keys and tokens that are not what they should be: a refusal with the file's name, at the start.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use chaos_fuzz::{Bytes, cases, damaged};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::CertificateDer;

use super::certificate::Names;
use super::{TlsDoor, TlsFiles, Tokens};
use crate::observe::Audit;

/// A certificate for itself with the key, both PEM.
fn pair() -> (Vec<u8>, Vec<u8>) {
    let key = KeyPair::generate().expect("a key");
    let certificate = parameters().self_signed(&key).expect("a certificate");
    (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
}

fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::new(vec!["node.example".to_owned()]).expect("a name");
    let role = "urn:chaos-daemon:role:operator".try_into().expect("a URI");
    parameters.subject_alt_names.push(SanType::URI(role));
    parameters
}

/// What comes of a daemon that is given these.
fn open(certificate: &[u8], key: &[u8], ca: &[u8]) -> Result<(), String> {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let files = TlsFiles {
        certificate: file("node.crt", certificate),
        key: file("node.key", key),
        client_ca: file("ca.crt", ca),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let door = runtime.expect("a runtime").block_on(TlsDoor::open(
        "127.0.0.1:0".parse().expect("an address"),
        &files,
        Audit::default(),
    ));
    door.map(drop).map_err(|error| error.to_string())
}

#[test]
fn what_is_sound_is_opened() {
    let (certificate, key) = pair();
    assert_eq!(open(&certificate, &key, &certificate), Ok(()));
}

proptest! {
    #![proptest_config(cases(50))]
    #[test]
    fn damaged_files_are_opened_or_refused(
        (one, other) in Just((pair(), pair())).prop_flat_map(|(one, other)| {
            let documents = vec![one.0.clone(), one.1.clone(), other.0.clone(), other.1.clone()];
            (Just((one, other)), damaged(documents))
        }),
        place in 0..3,
    ) {
        let ((certificate, key), _) = one;
        let Bytes(text) = other;
        let opened = match place {
            0 => open(&text, &key, &certificate),
            1 => open(&certificate, &text, &certificate),
            _ => open(&certificate, &key, &text),
        };
        if let Err(refusal) = opened {
            prop_assert!(refusal.contains(" – ") && refusal.len() < 1000, "{refusal}");
        }
    }

    #[test]
    fn names_are_read_from_any_certificate(bytes in {
        let key = KeyPair::generate().expect("a key");
        damaged(vec![parameters().self_signed(&key).expect("a certificate").der().to_vec()])
    }) {
        let names = Names::of(&CertificateDer::from(bytes.0));
        prop_assert_eq!(names.fingerprint.len(), 64);
    }

    #[test]
    fn damaged_tokens_are_read_or_refused(text in damaged(vec![
        b"# for Prometheus\n0123456789abcdef0123\n\nanother-long-token-1\n".to_vec(),
    ])) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), &text.0).expect("a file");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).expect("a mode");
        if let Err(refusal) = Tokens::read(file.path()) {
            prop_assert!(refusal.to_string().contains(" – "), "{refusal}");
        }
    }
}
