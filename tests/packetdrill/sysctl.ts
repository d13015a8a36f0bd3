import { completeConfig, type TcpConfig } from "../../net/tcp/config.ts";
import { CONGESTION_CONTROLS, type CongestionControlName } from "../../net/tcp/congestion/congestion.ts";
import { GOOGLE_DEFAULTS } from "./profile.ts";
import { Unsupported } from "./script.ts";
import { type Machine, runTool } from "./tools.ts";

/** What one setting of a kernel means for the stack; `undefined` in the table: nothing that a script could see. */
type Setting = ((value: string, config: TcpConfig) => void) | undefined;

/** A setting that is supported with one value. */
function only(standard: string): Setting {
  return (value) => {
    if (value !== standard) throw new Unsupported(`FreeBSD's sysctl with ${value}`);
  };
}

const SETTINGS: Readonly<Record<string, Setting>> = {
  tcp_timestamps: (value, config) => void (config.timestamps = value !== "0"),
  tcp_syn_retries: (value, config) => void (config.synRetransmitsMax = Number(value)),
  tcp_synack_retries: (value, config) => void (config.synAckRetransmitsMax = Number(value)),
  tcp_syn_linear_timeouts: (value, config) => void (config.synLinearTimeouts = Number(value)),
  tcp_syncookies: (value, config) => void (config.synCookies = Number(value) as TcpConfig["synCookies"]),
  tcp_max_syn_backlog: (value, config) => void (config.synBacklogMax = Number(value)),
  tcp_tw_reuse: (value, config) => void (config.timeWaitReuse = Number(value) as TcpConfig["timeWaitReuse"]),
  tcp_tw_reuse_delay: (value, config) => void (config.timeWaitReuseDelayMs = Number(value)),
  tcp_max_tw_buckets: (value, config) => void (config.timeWaitsMax = Number(value)),
  tcp_rfc1337: (value, config) => void (config.rfc1337 = value !== "0"),
  tcp_fastopen: (value, config) => void (config.fastOpen = Number(value)),
  tcp_fastopen_key: (value, config) => void (config.fastOpenKey = value),
  tcp_fastopen_blackhole_timeout_sec: (value, config) =>
    void (config.fastOpenBlackholeMs = Number(value) * 1000),
  "net.inet.tcp.tolerate_missing_ts": (value, config) => { // FreeBSD's; Linux has no choice
    config.tolerateMissingTimestamps = value !== "0";
  },
  // FreeBSD's, where they mean what Linux's do (times in milliseconds).
  "net.inet.tcp.ecn.enable": (value, config) => void (config.ecn = Number(value)),
  "net.inet.tcp.sack.enable": (value, config) => void (config.sack = value !== "0"),
  "net.inet.tcp.keepidle": (value, config) => void (config.keepAliveIdleMs = Number(value)),
  "net.inet.tcp.keepintvl": (value, config) => void (config.keepAliveIntervalMs = Number(value)),
  "net.inet.tcp.keepcnt": (value, config) => void (config.keepAliveProbes = Number(value)),
  // FreeBSD's, set to what is so here without any setting: the options of RFC 7323, answers to strangers, ICMP errors
  // that end a connection in SYN-SENT only, RST and SYN as RFC 5961 has them, SYN+FIN taken as a SYN, and options in
  // every SYN again. Other values would change what a script sees, and are not supported.
  "net.inet.tcp.rfc1323": only("1"),
  "net.inet.tcp.blackhole": only("0"),
  "net.inet.tcp.icmp_may_rst": only("1"),
  "net.inet.tcp.insecure_rst": only("0"),
  "net.inet.tcp.insecure_syn": only("0"),
  "net.inet.tcp.rexmit_drop_options": only("0"),
  "net.inet.tcp.rexmit_initial": only("1000"),
  // No script can see these here: nothing is remembered of hosts, and scripts for every stack leave buffer sizes and
  // the slack of FreeBSD's clock out.
  "net.inet.tcp.hostcache.purgenow": undefined,
  "net.inet.tcp.rexmit_slop": undefined,
  "net.inet.tcp.recvspace": undefined,
  "net.inet.tcp.sendspace": undefined,
  "kern.ipc.maxsockbuf": undefined,
  tcp_retries2: (value, config) => void (config.retransmitsMax = Number(value)),
  tcp_keepalive_time: (value, config) => void (config.keepAliveIdleMs = Number(value) * 1000),
  tcp_keepalive_intvl: (value, config) => void (config.keepAliveIntervalMs = Number(value) * 1000),
  tcp_keepalive_probes: (value, config) => void (config.keepAliveProbes = Number(value)),
  tcp_fin_timeout: (value, config) => void (config.finWait2Ms = Number(value) * 1000),
  tcp_rto_max_ms: (value, config) => void (config.rtoMaxMs = Number(value)),
  tcp_rto_min_us: (value, config) => void (config.rtoMinMs = Number(value) / 1000),
  tcp_invalid_ratelimit: (value, config) => void (config.challengeAckMs = Number(value)),
  tcp_ecn: (value, config) => void (config.ecn = Number(value)),
  tcp_ecn_fallback: (value, config) => void (config.ecnFallback = value !== "0"),
  tcp_ecn_option: (value, config) => void (config.ecnOption = Number(value)),
  tcp_ecn_option_beacon: (value) => {
    if (Number(value) > 3) throw new Unsupported(`sysctl tcp_ecn_option_beacon=${value}`);
  },
  tcp_mtu_probing: (value, config) => void (config.mtuProbing = Number(value)),
  tcp_base_mss: (value, config) => void (config.mtuBaseMss = Number(value)),
  tcp_mtu_probe_floor: (value, config) => void (config.mtuProbeFloor = Number(value)),
  tcp_probe_threshold: (value, config) => void (config.mtuProbeThreshold = Number(value)),
  tcp_probe_interval: (value, config) => void (config.mtuProbeIntervalMs = Number(value) * 1000),
  tcp_slow_start_after_idle: (value, config) => void (config.slowStartAfterIdle = value !== "0"),
  tcp_congestion_control: (value, config) => {
    if (!CONGESTION_CONTROLS.includes(value as CongestionControlName)) {
      throw new Unsupported(`congestion control "${value}"`);
    }
    config.congestionControl = value as CongestionControlName;
  },
  tcp_rmem: (value, config) => {
    const [, standard, most] = value.split(/\s+/).map(arithmetic) as [number, number, number];
    config.receiveBufferBytes = standard;
    config.receiveBufferMax = most;
    config.receiveWindowScale = completeConfig({ receiveBufferMax: most }).receiveWindowScale;
  },
  tcp_wmem: (value, config) => {
    const [, standard, most] = value.split(/\s+/).map(arithmetic) as [number, number, number];
    config.sendBufferBytes = standard;
    config.sendBufferMax = most;
  },
  tcp_sack: (value, config) => void (config.sack = value !== "0"),
  tcp_dsack: (value, config) => void (config.dsack = value !== "0"),
  tcp_frto: (value, config) => void (config.frto = value !== "0"),
  tcp_reordering: (value, config) => void (config.reorderingSegments = Number(value)),
  tcp_max_reordering: (value, config) => void (config.reorderingMax = Number(value)),
  tcp_early_retrans: (value, config) => void (config.tailLossProbe = value !== "0"),
  tcp_recovery: (value) => {
    if (value === "0") throw new Unsupported("loss recovery without RACK");
  },
  // How Linux cuts and paces what it sends; ours leaves in segments of the MSS, as scripts see them put together.
  tcp_min_tso_segs: (value, config) => void (config.trainSegmentsMin = Number(value)),
  tcp_tso_win_divisor: undefined,
  tcp_tso_rtt_log: undefined,
  tcp_pacing_ss_ratio: undefined,
  tcp_pacing_ca_ratio: undefined,
  tcp_notsent_lowat: undefined,
  tcp_limit_output_bytes: undefined,
  tcp_autocorking: undefined,
  tcp_no_metrics_save: undefined,
  tcp_moderate_rcvbuf: undefined,
  tcp_fack: undefined,
  ip_local_port_range: undefined,
  "conf.all.rp_filter": undefined,
};

/** What commands say to the machine, and not to TCP. */
export interface Device extends Machine {
  mtu: number;
  /** Its queue has no room at all. */
  full: boolean;
  /** Forgets what is known of other hosts. */
  forgetMetrics(): void;
}

/**
 * What a command of a script means. It is read, never executed.
 *
 * @throws {Unsupported} When it is nothing that is known here.
 * @throws {CommandFailed} When it is a question, and the answer is no.
 */
export function applyCommand(text: string, config: TcpConfig, device: Device): void {
  const lines = text.replace(/\\\n/g, " ").replace(
    /\$\(\(([^)]|\)(?!\)))*\)\)/g,
    (sum) => `${arithmetic(sum)}`,
  )
    .split(/\n|;|&&/);
  for (const line of lines) applyLine(line.replace(/(^|\s)#.*$/, "").trim(), config, device);
}

function applyLine(line: string, config: TcpConfig, device: Device): void {
  if (runTool(line, device)) return;
  if (line === "" || /^(sleep|echo|true|ulimit)\b/.test(line)) return;
  const words = line.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? [];
  const command = words[0]!.replace(/^.*\//, "");
  const rest = words.slice(1).filter((word) => !/^(\d?>|\/dev\/null|\|\||true|-)/.test(word));
  if (/^sysctl_restore_/.test(command)) return;
  if (command === "defaults.sh") {
    if (words[0]!.endsWith("common/defaults.sh")) Object.assign(config, GOOGLE_DEFAULTS);
    return; // the rest is the profile
  }
  if (command === "source" || command === ".") return applyLine(words.slice(1).join(" "), config, device);
  if (/^ip tcp_metrics flush|tcp_fastopen_cookies=0/.test(line)) return device.forgetMetrics();
  if (command === "sysctl" || command === "set_sysctls.py") {
    const settings = rest.join(" ").match(/[\w./-]+=(?:"[^"]*"|'[^']*'|\S+)/g) ?? [];
    if (settings.length === 0) throw new Unsupported(`command "${line}"`);
    for (const setting of settings) applySetting(setting, config);
    return;
  }
  const mtu = /^ip link set dev tun0 mtu (\d+)$/.exec(line);
  if (mtu !== null) {
    device.mtu = Number(mtu[1]);
    return;
  }
  const route =
    /^ip (?:-6 )?route (?:add|change) \S+ via \S+ dev tun0 advmss (\d+) mtu lock (\d+)(?: initcwnd (\d+))?$/
      .exec(line);
  if (route !== null) {
    device.mtu = Number(route[2]); // the only way there is; our MSS is the device's
    if (route[3] !== undefined) config.initialWindowSegments = Number(route[3]);
    return;
  }
  if (/^tc qdisc del(ete)? dev tun0 root$/.test(rest.length > 0 ? `${command} ${rest.join(" ")}` : "")) {
    device.full = false;
    return;
  }
  if (/^(tc|ethtool|ip)$/.test(command) && /\b(pfifo|fq|tso|gso|gro|tcp_metrics)\b/.test(line)) {
    if (command === "tc" && /\broot\b/.test(line)) device.full = /\blimit 0\b/.test(line);
    return; // how a device cuts and paces
  }
  throw new Unsupported(`command "${line}"`);
}

function applySetting(text: string, config: TcpConfig): void {
  const equals = text.indexOf("=");
  const name = text.slice(0, equals).replace(/^\/proc\/sys\//, "").replaceAll("/", ".").replace(
    /^net\.(ipv4|core)\./,
    "",
  );
  const value = text.slice(equals + 1).replace(/^["']|["']$/g, "").trim();
  if (!(name in SETTINGS)) throw new Unsupported(`sysctl ${name}`);
  SETTINGS[name]?.(value, config);
}

/** `$((32*1024))`, or a plain number. */
function arithmetic(text: string): number {
  const inner = text.replace(/^\$\(\(|\)\)$/g, "").replace(/[()\s]/g, "");
  return inner.split("*").reduce((product, factor) => product * Number(factor), 1);
}
