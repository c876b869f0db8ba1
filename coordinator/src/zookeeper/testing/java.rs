//! The server's process, and the guardian that ends it with its owner.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::{env, fs};

/// Starting fast matters more than running fast.
const FAST: [&str; 3] = [
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xshare:auto",
];

const SERVER: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

/// Where Debian and its relatives have them. The manifest of the first names the others that it needs, but for the
/// one that says what goes wrong and the one for TLS.
const DEBIAN_JARS: [&str; 3] = [
    "/usr/share/java/zookeeper.jar",
    "/usr/share/java/slf4j-simple.jar",
    "/usr/share/java/netty-codec.jar",
];

/// Runs `sh GUARDIAN DIRECTORY LOG COMMAND…`: says the pid of COMMAND, ends when it has ended, and kills it when its
/// own standard input ends, which is when the owner closes it or has died of anything; then nobody is left to want
/// DIRECTORY.
const GUARDIAN: &str = r#"
directory=$1 log=$2
shift 2
exec 3<&0
"$@" </dev/null 3<&- >>"$log" 2>&1 &
server=$!
echo "$server"
{ read -r _; echo >"$directory/orphaned"; kill -9 "$server"; } <&3 >/dev/null 2>&1 &
watcher=$!
exec 3<&- </dev/null
wait "$server" 2>/dev/null
kill "$watcher" 2>/dev/null
[ ! -e "$directory/orphaned" ] || rm -rf "$directory"
"#;

/// One run of a server.
#[derive(Debug)]
pub(super) struct Run {
    guardian: Child,
    /// Open as long as the server shall run.
    leash: Option<ChildStdin>,
    pid: u32,
}

impl Run {
    /// Starts a server by the file `zoo.cfg` in `directory`; what it says goes to `log` there.
    pub(super) fn start(directory: &Path, options: &[String]) -> io::Result<Self> {
        let classpath = classpath()?;
        let mut command = Command::new("sh");
        command
            .args(["-c", GUARDIAN, "guardian"])
            .arg(directory)
            .arg(directory.join("log"))
            .arg("java");
        command.arg("-Xmx128m").args(FAST);
        command.arg("-Djava.net.preferIPv4Stack=true").args(options);
        command
            .args(["-cp", &classpath, SERVER])
            .arg(directory.join("zoo.cfg"));
        // In a group of its own, so that what ends the tests by a signal to their group leaves the guardian its work.
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut guardian = command.spawn()?;
        let leash = guardian.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = guardian.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let pid = line
            .trim()
            .parse()
            .map_err(|_| io::Error::other(format!("sh said {line:?}, not the server's pid")))?;
        Ok(Self {
            guardian,
            leash,
            pid,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Has the server ended?
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.guardian.try_wait(), Ok(None))
    }

    /// Sends the server a signal (`KILL`, `STOP`, `CONT`) and says whether it was there to get it.
    pub(super) fn signal(&self, signal: &str) -> bool {
        // The shell's own `kill`, since not every machine has the program.
        let script = r#"kill -"$0" "$1""#;
        let sent = Command::new("sh")
            .args(["-c", script, signal, &self.pid.to_string()])
            .stderr(Stdio::null())
            .status();
        sent.expect("sh runs").success()
    }

    /// Kills the server and waits until it is gone. Its directory stays.
    pub(super) fn kill(mut self) {
        self.signal("KILL");
        // The leash is held until the guardian has ended: otherwise it would take the directory away.
        let leash = self.leash.take();
        self.guardian
            .wait()
            .expect("the guardian is our child and was not waited for");
        drop(leash);
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.leash.take());
        // The guardian may have ended before; then there is nothing to wait for.
        let _ = self.guardian.wait();
    }
}

/// The name of the file with the certificate that [`make_key`] makes.
pub(super) const CERTIFICATE: &str = "certificate.pem";

/// Makes a key for `127.0.0.1` with a certificate that it signed itself, by Java's own tool. Returns the key store, which
/// is in PKCS 12, and its password.
pub(super) fn make_key(directory: &Path) -> io::Result<(PathBuf, &'static str)> {
    let password = "only-for-tests";
    let store = directory.join("key.p12");
    let tool = |words: &str, file: &[&OsStr]| {
        let mut command = Command::new("java");
        command
            .args(FAST)
            .args(["-m", "java.base/sun.security.tools.keytool.Main"]);
        command
            .args(words.split(' '))
            .args(["-alias", "server", "-storepass", password, "-keystore"])
            .arg(&store);
        let output = command.args(file).output()?;
        let said =
            || String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("no key was made: {}", said())))
        }
    };
    let key =
        "-keyalg EC -groupname secp256r1 -dname CN=localhost -ext san=ip:127.0.0.1,dns:localhost";
    tool(
        &format!("-genkeypair -storetype PKCS12 -validity 3650 {key}"),
        &[],
    )?;
    tool(
        "-exportcert -rfc",
        &["-file".as_ref(), directory.join(CERTIFICATE).as_os_str()],
    )?;
    Ok((store, password))
}

/// The jars as the launcher found them, else those of the platform's package.
fn classpath() -> io::Result<String> {
    let missing = |what: &str| {
        let help = "run `./fulmar test`, which brings in what the tests need, or `apt-get install libzookeeper-java default-jre-headless`";
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("cannot start a ZooKeeper server: {what}; {help}"),
        )
    };
    let path = env::var_os("PATH").unwrap_or_default();
    if !env::split_paths(&path).any(|folder| folder.join("java").is_file()) {
        return Err(missing("there is no program `java` in PATH"));
    }
    if let Some(given) = env::var("FULMAR_ZOOKEEPER_CLASSPATH")
        .ok()
        .filter(|given| !given.is_empty())
    {
        return Ok(given);
    }
    match DEBIAN_JARS.iter().find(|jar| fs::metadata(jar).is_err()) {
        Some(jar) => Err(missing(&format!(
            "{jar} is not there, and FULMAR_ZOOKEEPER_CLASSPATH names no other place"
        ))),
        None => Ok(DEBIAN_JARS.join(":")),
    }
}
