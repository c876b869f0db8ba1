# shellcheck shell=sh disable=SC2154  # root, cache and zookeeper_classpath come from ./fulmar and scripts/tools.sh
# A ZooKeeper server on this machine for trying things out. Sourced by ./fulmar; after scripts/tools.sh.

zookeeper_help() {
    cat <<'TEXT'
A ZooKeeper server on this machine, for trying things out: one server, loopback only, nothing to sign in.

usage: ./fulmar zookeeper start|stop|status [--port N] [--dir DIR]
       ./fulmar zookeeper cli [--port N] [ARGUMENTS]

  start        starts it, detached from the terminal, and waits until it serves
  stop         stops it; its data stay
  status       says whether it runs (exit code 0) or not (1)
  cli          ZooKeeper's own shell, connected to it; with ARGUMENTS it runs that one command, such as `cli ls /`

  --port N     where it listens on 127.0.0.1 (default: as the last time in DIR, else 2181)
  --dir DIR    its data, log, configuration and pid file (default: zookeeper-N in the cache)
TEXT
}

# zookeeper_main ARGUMENTS…
zookeeper_main() {
    action=${1-}
    case $action in
    start | stop | status | cli) shift ;;
    help | --help | -h)
        zookeeper_help
        return
        ;;
    '') zookeeper_usage "it must be said what to do" ;;
    *) zookeeper_usage "there is no \"zookeeper $action\"" ;;
    esac
    port=
    folder=
    while [ $# -gt 0 ]; do
        case $1 in
        --port | --dir)
            [ $# -ge 2 ] || zookeeper_usage "$1 needs a value"
            [ -n "$2" ] || zookeeper_usage "$1 needs a value"
            if [ "$1" = --port ]; then port=$2; else folder=$2; fi
            shift 2
            ;;
        --help | -h)
            zookeeper_help
            return
            ;;
        *)
            [ "$action" = cli ] || zookeeper_usage "\"$1\" is not understood"
            break
            ;;
        esac
    done
    if [ -z "$folder" ]; then folder=$cache/zookeeper-${port:-2181}; fi
    case $folder in /*) ;; *) folder=$PWD/$folder ;; esac
    last_port=$(sed -n 's/^clientPort=//p' "$folder/zoo.cfg" 2>/dev/null) || true
    [ -n "$port" ] || port=${last_port:-2181}
    case $port in
    *[!0-9]* | 0* | ??????*) zookeeper_usage "--port: \"$port\" is not a port" ;;
    esac
    [ "$port" -le 65535 ] || zookeeper_usage "--port: \"$port\" is not a port"
    "zookeeper_$action" "$@"
}

zookeeper_usage() {
    say "$1"
    zookeeper_help >&2
    exit 64
}

# java_quick ARGUMENTS…: what runs shortly or seldom should start fast.
java_quick() { java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto "$@"; }

# zookeeper_pid: sets `pid` to that of the server that runs by the configuration in $folder; fails if there is none.
# A pid file outlives its server, and the number may be another process's by now.
zookeeper_pid() {
    pid=$(cat "$folder/pid" 2>/dev/null) || return 1
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    zookeeper_is "$pid"
}

zookeeper_is() {
    if [ -d /proc/self ]; then
        words=$({ tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null) || return 1
    else
        words=$(ps -ww -o args= -p "$1" 2>/dev/null) || return 1
    fi
    case "${words% } " in
    *" org.apache.zookeeper.server.quorum.QuorumPeerMain $folder/zoo.cfg ") return 0 ;;
    *) return 1 ;;
    esac
}

# process_lives PID: is it there, and not only waiting for its parent to take note of its end?
process_lives() {
    if [ -d /proc/self ]; then
        state=$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) || return 1
    else
        state=$(ps -o state= -p "$1" 2>/dev/null) || return 1
    fi
    case $state in '' | Z*) return 1 ;; esac
}

# zookeeper_asks COMMAND: what the server at $port answers to a four-letter command; fails if none listens.
# Java is there for certain; programs that speak TCP are not.
zookeeper_asks() {
    java_quick -cp "$zookeeper_classpath" -Dorg.slf4j.simpleLogger.defaultLogLevel=off \
        org.apache.zookeeper.client.FourLetterWordMain 127.0.0.1 "$port" "$1" 2>/dev/null
}

zookeeper_serves() { case $(zookeeper_asks srvr) in *Mode:*) return 0 ;; *) return 1 ;; esac }

zookeeper_start() {
    need_zookeeper
    if zookeeper_pid; then
        [ "$last_port" = "$port" ] || die 1 "the ZooKeeper server of $folder runs on port $last_port, not $port" \
            "stop it first: ./fulmar zookeeper stop --dir '$folder'"
        say "ZooKeeper runs already, as process $pid"
        zookeeper_describe
        return
    fi
    zookeeper_configure
    # Detached from the terminal: its closing and its Ctrl-C are not for the server.
    detach="nohup"
    if have setsid; then detach="setsid nohup"; fi
    $detach java -Xmx256m -XX:+UseSerialGC -Xshare:auto -Djava.net.preferIPv4Stack=true \
        -Dorg.slf4j.simpleLogger.showDateTime=true "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS" \
        -cp "$folder:$zookeeper_classpath" org.apache.zookeeper.server.quorum.QuorumPeerMain "$folder/zoo.cfg" \
        </dev/null >"$folder/log" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM HUP
    zookeeper_wait
    # Only now: of two that are started at once one cannot have the port, and must not name itself.
    echo "$pid" >"$folder/pid.$$"
    mv -f "$folder/pid.$$" "$folder/pid"
    trap - INT TERM HUP
    say "ZooKeeper runs, as process $pid"
    zookeeper_describe
}

zookeeper_configure() {
    mkdir -p "$folder/data" || die 1 "cannot make $folder/data"
    if [ -f "$folder/log" ]; then mv -f "$folder/log" "$folder/log.before"; fi
    cat >"$folder/zoo.cfg" <<TEXT
# Written by ./fulmar zookeeper start, anew each time.
dataDir=$folder/data
clientPort=$port
clientPortAddress=127.0.0.1
# Sessions time out after one second at least.
tickTime=500
maxClientCnxns=0
maxSessionTimeout=60000
autopurge.snapRetainCount=3
autopurge.purgeInterval=1
admin.enableServer=false
4lw.commands.whitelist=mntr,ruok,srvr,stat,cons
TEXT
    # Read by those builds of ZooKeeper that log with logback.
    cat >"$folder/logback.xml" <<'TEXT'
<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d [%t] %level %logger - %msg%n</pattern></encoder>
  </appender>
  <root level="${fulmar.level:-INFO}"><appender-ref ref="OUT"/></root>
</configuration>
TEXT
}

# zookeeper_wait: until the process $pid serves; says why if it ends instead.
zookeeper_wait() {
    tries=0
    while [ "$tries" -lt 150 ]; do
        if ! process_lives "$pid"; then
            if grep -q -e BindException -e 'Address already in use' "$folder/log"; then
                die 1 "port $port is taken by another program, or by a ZooKeeper server that was not started here" \
                    "take another port: ./fulmar zookeeper start --port N"
            fi
            tail -n 20 "$folder/log" >&2
            die 1 "ZooKeeper could not be started; this is the end of $folder/log"
        fi
        # Before it has its port somebody else might answer there.
        if grep -q 'binding to port' "$folder/log" || [ "$tries" -ge 30 ]; then
            if zookeeper_serves && process_lives "$pid"; then return; fi
        fi
        tries=$((tries + 1))
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
    die 1 "ZooKeeper was started and did not serve; see $folder/log"
}

zookeeper_describe() {
    here=
    [ "$folder" = "$cache/zookeeper-$port" ] || here=" --dir '$folder'"
    if [ -z "$here" ] && [ "$port" != 2181 ]; then here=" --port $port"; fi
    cat <<TEXT
connection string   127.0.0.1:$port
look at it          ./fulmar zookeeper cli$here ls /
stop it             ./fulmar zookeeper stop$here
log and data        $folder
TEXT
}

zookeeper_stop() {
    if ! zookeeper_pid; then
        rm -f "$folder/pid"
        say "no ZooKeeper server runs in $folder"
        return
    fi
    kill "$pid" 2>/dev/null || true
    tries=0
    while zookeeper_is "$pid"; do
        tries=$((tries + 1))
        # It may be stopped by SIGSTOP, or hang; its log is written before anything is answered, so nothing is lost.
        if [ "$tries" -eq 100 ]; then kill -9 "$pid" 2>/dev/null || true; fi
        [ "$tries" -lt 200 ] || die 1 "the ZooKeeper server (process $pid) does not end"
        sleep 0.05
    done
    rm -f "$folder/pid"
    say "ZooKeeper is stopped; its data stay in $folder"
}

zookeeper_status() {
    if ! zookeeper_pid; then
        say "no ZooKeeper server runs in $folder"
        return 1
    fi
    need_zookeeper
    if ! zookeeper_serves; then
        say "the ZooKeeper server of $folder (process $pid) does not answer on port $port"
        return 1
    fi
    say "ZooKeeper runs, as process $pid"
    zookeeper_describe
}

zookeeper_cli() {
    zookeeper_pid || die 1 "no ZooKeeper server runs in $folder" "start it with: ./fulmar zookeeper start"
    need_zookeeper
    exec java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -Dorg.slf4j.simpleLogger.defaultLogLevel=off \
        -Dfulmar.level=OFF -cp "$folder:$zookeeper_classpath" \
        org.apache.zookeeper.ZooKeeperMain -server "127.0.0.1:$port" "$@"
}
