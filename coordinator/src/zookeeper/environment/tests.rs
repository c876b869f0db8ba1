//! By example, over an environment that is a table; files are real ones.

use std::fs;

use super::*;

const PASSWORD: &str = "s3cret:of-ours";

fn with(variables: &[(&str, &str)]) -> Result<ZooKeeperConfig> {
    let config = ZooKeeperConfig::parse("h:1/x").unwrap();
    config.with_lookup(&|name| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| OsString::from(value))
    })
}

/// What is said about variables that are refused, which never includes a password.
fn refused(variables: &[(&str, &str)]) -> String {
    let error = with(variables).unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(!said.contains("s3cret"), "{said}");
    error.to_string()
}

#[test]
fn an_environment_that_says_nothing_changes_nothing() {
    let config = with(&[("FULMAR_ZOOKEEPER_DIGEST", ""), ("HOME", "/")]).unwrap();
    assert!(!config.is_authenticated());
    assert_eq!(config.timeout(), Duration::from_secs(6));
}

#[test]
fn credentials_come_from_a_variable_or_a_file_and_show_who_but_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    for line_end in ["", "\n", "\r\n"] {
        fs::write(&file, format!("app:{PASSWORD}{line_end}")).unwrap();
        let path = file.to_str().unwrap();
        for variables in [
            [
                ("FULMAR_ZOOKEEPER_DIGEST", "app:s3cret:of-ours"),
                ("FULMAR_ZOOKEEPER_SASL", "app:s3cret:of-ours"),
            ],
            [
                ("FULMAR_ZOOKEEPER_DIGEST_FILE", path),
                ("FULMAR_ZOOKEEPER_SASL_FILE", path),
            ],
        ] {
            let config = with(&variables).unwrap();
            assert!(config.is_authenticated());
            let [digest, sasl] = [Scheme::Digest, Scheme::Sasl]
                .map(|scheme| Credential::new(scheme, "app", PASSWORD).unwrap());
            let same = config.clone().credential(digest).credential(sasl);
            let shown = format!(
                "{config:?} {config:#?} {} {}",
                config.refused(),
                same.refused()
            );
            assert!(
                shown.contains("app") && !shown.contains("s3cret"),
                "{shown}"
            );
        }
    }
}

#[test]
fn credentials_that_cannot_be_used_are_refused_by_name_and_without_their_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (empty, lines, long, odd, ok) = (
        path("empty"),
        path("lines"),
        path("long"),
        path("odd"),
        path("ok"),
    );
    fs::write(&empty, "\n").unwrap();
    fs::write(&lines, "app:s3cret\nanother:s3cret\n").unwrap();
    fs::write(&long, format!("app:{}", "s3cret".repeat(1000))).unwrap();
    fs::write(&odd, b"app:s3cret\xff").unwrap();
    fs::write(&ok, "app:s3cret").unwrap();
    for (name, value, said) in [
        (
            "FULMAR_ZOOKEEPER_DIGEST",
            "s3cret",
            "FULMAR_ZOOKEEPER_DIGEST holds no user:password",
        ),
        (
            "FULMAR_ZOOKEEPER_DIGEST",
            ":s3cret",
            "the user name is empty",
        ),
        ("FULMAR_ZOOKEEPER_SASL", "app:", "the password is empty"),
        ("FULMAR_ZOOKEEPER_SASL", "app:s3cret\n", "control character"),
        (
            "FULMAR_ZOOKEEPER_DIGEST_FILE",
            &empty,
            "is empty; write user:password into it",
        ),
        ("FULMAR_ZOOKEEPER_DIGEST_FILE", &lines, "more than one line"),
        (
            "FULMAR_ZOOKEEPER_DIGEST_FILE",
            &long,
            "longer than 4096 bytes",
        ),
        (
            "FULMAR_ZOOKEEPER_SASL_FILE",
            &odd,
            "reading ZooKeeper's credentials from",
        ),
        ("FULMAR_ZOOKEEPER_SASL_FILE", &path("none"), "No such file"),
        (
            "FULMAR_ZOOKEEPER_SESSION_MS",
            "0",
            "write milliseconds, 100 to 3600000",
        ),
        (
            "FULMAR_ZOOKEEPER_SESSION_MS",
            "6s",
            "FULMAR_ZOOKEEPER_SESSION_MS is \"6s\"",
        ),
        (
            "FULMAR_ZOOKEEPER_TLS_KEY",
            "key.pem",
            "without FULMAR_ZOOKEEPER_TLS_CA",
        ),
    ] {
        let text = refused(&[(name, value)]);
        assert!(text.contains(said), "{name}: {text}");
        if name.ends_with("_FILE") {
            assert!(text.contains(value), "the file is named: {text}");
        }
    }
    let both = [
        ("FULMAR_ZOOKEEPER_SASL", "app:s3cret"),
        ("FULMAR_ZOOKEEPER_SASL_FILE", &*ok),
    ];
    assert!(refused(&both).contains("both set"));
    let half = [
        ("FULMAR_ZOOKEEPER_TLS_CA", "ca.pem"),
        ("FULMAR_ZOOKEEPER_TLS_CERT", "cert.pem"),
    ];
    assert!(refused(&half).contains("belong together"));
    let config = ZooKeeperConfig::parse("h").unwrap();
    assert!(
        config
            .digest("a:b", "s3cret")
            .unwrap_err()
            .to_string()
            .contains("colon")
    );
}

#[test]
fn the_environment_goes_before_what_was_set_in_the_program() {
    let config = ZooKeeperConfig::parse("h")
        .unwrap()
        .session_timeout(Duration::from_secs(1));
    let config = config.digest("program", "s3cret").unwrap();
    let config = config.with_lookup(&|name| match name {
        "FULMAR_ZOOKEEPER_DIGEST" => Some("environment:s3cret".into()),
        "FULMAR_ZOOKEEPER_SESSION_MS" => Some("2500".into()),
        _ => None,
    });
    let config = config.unwrap();
    assert_eq!(config.timeout(), Duration::from_millis(2500));
    let shown = format!("{config:?}");
    assert!(
        shown.contains("environment") && !shown.contains("program"),
        "{shown}"
    );
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_text_is_refused_without_showing_it() {
    use std::os::unix::ffi::OsStringExt;
    let config = ZooKeeperConfig::parse("h").unwrap();
    let error = config.with_lookup(&|name| {
        (name == "FULMAR_ZOOKEEPER_DIGEST").then(|| OsString::from_vec(b"app:s3cret\xff".to_vec()))
    });
    let said = error.unwrap_err().to_string();
    assert!(
        said.contains("FULMAR_ZOOKEEPER_DIGEST") && !said.contains("s3cret"),
        "{said}"
    );
}

#[cfg(not(feature = "zookeeper-tls"))]
#[test]
fn tls_in_a_program_without_it_is_refused_with_what_to_do() {
    let said = refused(&[("FULMAR_ZOOKEEPER_TLS_CA", "ca.pem")]);
    assert!(said.contains("feature `zookeeper-tls`"), "{said}");
    let config = ZooKeeperConfig::parse("tcp+tls://h:1").unwrap();
    let error = config.connector().map(drop).unwrap_err();
    assert!(error.to_string().contains("no CA is given"), "{error}");
}

#[cfg(feature = "zookeeper-tls")]
#[test]
fn certificates_that_cannot_be_used_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let path = ca.to_str().unwrap();
    assert!(refused(&[("FULMAR_ZOOKEEPER_TLS_CA", path)]).contains("No such file"));
    fs::write(&ca, "nothing").unwrap();
    let said = refused(&[("FULMAR_ZOOKEEPER_TLS_CA", path)]);
    assert!(
        said.contains("there is no certificate in it") && said.contains(path),
        "{said}"
    );
    let config = ZooKeeperConfig::parse("tcp+tls://a..b:1").unwrap();
    let error = config.tls(Tls::new(&ca)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no name that a certificate can be for"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn a_secret_that_others_may_read_is_taken_and_warned_about() {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(text);
            Ok(text.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    fs::write(&file, "app:s3cret").unwrap();
    let path = file.to_str().unwrap();
    for (mode, warned) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false);
        let subscriber = subscriber.with_writer(move || writer.clone()).finish();
        let config = tracing::subscriber::with_default(subscriber, || {
            with(&[("FULMAR_ZOOKEEPER_DIGEST_FILE", path)])
        });
        assert!(config.unwrap().is_authenticated());
        let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said.contains("WARN"), warned, "{mode:o}: {said}");
        assert!(
            !said.contains("s3cret") && said.contains(path) == warned,
            "{said}"
        );
    }
}
