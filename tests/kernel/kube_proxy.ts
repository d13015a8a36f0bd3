/** A service of a cluster, as a proxy on a node is told of it. */
export interface Service {
  readonly name: string;
  readonly protocol: "tcp" | "udp";
  readonly port: number;
  readonly clusterIp: string;
  /** Addresses outside of the cluster that lead to it. */
  readonly externalIps?: readonly string[];
  readonly nodePort?: number;
  /** Who may come from outside; absent: everybody. */
  readonly sources?: readonly string[];
  /** Address and port each; none: who asks is refused. */
  readonly endpoints: readonly (readonly [address: string, port: number])[];
  /** Who has been to an endpoint goes there again, for three hours. */
  readonly sticky?: boolean;
}

/**
 * What kube-proxy writes in its nftables mode (KEP-3866, Kubernetes 1.31 and later): maps lead from addresses and ports to a
 * chain for each service, which leads by chance to one for each endpoint; a mark says who must be masqueraded. Said in our own words:
 * there is no package of it here. Each endpoint counts, which it does not there.
 */
export function kubeProxyRules(
  family: "ip" | "ip6",
  services: readonly Service[],
  { pods, node, clusterIps }: {
    readonly pods: string;
    readonly node: string;
    readonly clusterIps: string;
  },
): string {
  const address = family === "ip" ? "ipv4_addr" : "ipv6_addr";
  const host = (text: string, port: number): string =>
    family === "ip" ? `${text}:${port}` : `[${text}]:${port}`;
  const maps: Record<string, string[]> = {
    services: [],
    ports: [],
    firewalls: [],
    empty: [],
    emptyPorts: [],
  };
  const chains: string[] = [];
  const sets: string[] = [];
  for (
    const { name, protocol, port, clusterIp, externalIps = [], nodePort, sources, endpoints, sticky }
      of services
  ) {
    const id = `${name}/${protocol}/p${port}`;
    const from = externalIps.map((each) => `${each} . ${protocol} . ${port}`);
    if (endpoints.length === 0) {
      for (const each of [`${clusterIp} . ${protocol} . ${port}`, ...from]) {
        maps["empty"]!.push(`${each} comment "${id}" : goto reject-chain`);
      }
      if (nodePort !== undefined) {
        maps["emptyPorts"]!.push(`${protocol} . ${nodePort} comment "${id}" : goto reject-chain`);
      }
      continue;
    }
    const ends = endpoints.map(([to, at]) => ({
      to,
      at,
      chain: `endpoint-${id}__${to}/${at}`,
      set: `affinity-${id}__${to}/${at}`,
    }));
    for (const { to, at, chain, set } of ends) {
      const learnt = sticky ? `update @${set} { ${family} saddr }` : "";
      if (sticky) sets.push(`set ${set} { type ${address}; flags dynamic,timeout; timeout 3h; }`);
      chains.push(`chain ${chain} {
        ${family} saddr ${to} jump mark-for-masquerade
        ${learnt}
        meta l4proto ${protocol} counter dnat to ${host(to, at)}
      }`);
    }
    const again = sticky ? ends.map(({ set, chain }) => `${family} saddr @${set} goto ${chain}`) : [];
    const drawn = ends.map(({ chain }, at) => `${at} : goto ${chain}`).join(", ");
    chains.push(`chain service-${id} {
      ${family} daddr ${clusterIp} ${family} saddr != ${pods} jump mark-for-masquerade
      ${again.join("\n      ")}
      numgen random mod ${ends.length} vmap { ${drawn} }
    }`);
    maps["services"]!.push(`${clusterIp} . ${protocol} . ${port} : goto service-${id}`);
    if (from.length > 0 || nodePort !== undefined) {
      chains.push(`chain external-${id} {
        jump mark-for-masquerade
        goto service-${id}
      }`);
    }
    maps["services"]!.push(...from.map((each) => `${each} : goto external-${id}`));
    if (nodePort !== undefined) maps["ports"]!.push(`${protocol} . ${nodePort} : goto external-${id}`);
    if (sources === undefined) continue;
    chains.push(`chain firewall-${id} { ${family} saddr != { ${sources.join(", ")} } drop; }`);
    maps["firewalls"]!.push(...from.map((each) => `${each} : goto firewall-${id}`));
  }
  const map = (name: string, type: string, elements: readonly string[]): string => {
    const listed = elements.length === 0 ? "" : `elements = { ${elements.join(",\n      ")} }`;
    return `map ${name} { type ${type} : verdict; ${listed}
  }`;
  };
  const key = `${family} daddr . meta l4proto . th dport`;
  return `table ${family} kube-proxy {
  comment "rules for kube-proxy"
  set cluster-ips { type ${address}; elements = { ${
    services.map(({ clusterIp }) => clusterIp).join(", ")
  } }; }
  set nodeport-ips { type ${address}; elements = { ${node} }; }
  ${sets.join("\n  ")}
  ${map("service-ips", `${address} . inet_proto . inet_service`, maps["services"]!)}
  ${map("service-nodeports", "inet_proto . inet_service", maps["ports"]!)}
  ${map("firewall-ips", `${address} . inet_proto . inet_service`, maps["firewalls"]!)}
  ${map("no-endpoint-services", `${address} . inet_proto . inet_service`, maps["empty"]!)}
  ${map("no-endpoint-nodeports", "inet_proto . inet_service", maps["emptyPorts"]!)}
  chain mark-for-masquerade { meta mark set meta mark or 0x4000; }
  chain masquerading {
    meta mark and 0x4000 == 0 return
    meta mark set meta mark xor 0x4000
    masquerade fully-random
  }
  chain reject-chain { reject; }
  ${chains.join("\n  ")}
  chain services {
    ${key} vmap @service-ips
    ${family} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }
  chain firewall-check { ${key} vmap @firewall-ips; }
  chain service-endpoints-check { ${key} vmap @no-endpoint-services; }
  chain nodeport-endpoints-check {
    ${family} daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
  }
  chain cluster-ips-check {
    ${family} daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"
    ${family} daddr { ${clusterIps} } drop comment "Drop traffic to unallocated ClusterIPs"
  }
  chain filter-prerouting-pre-dnat {
    type filter hook prerouting priority dstnat - 10; policy accept;
    ct state new jump firewall-check
  }
  chain filter-output-pre-dnat {
    type filter hook output priority -110; policy accept;
    ct state new jump firewall-check
  }
  chain filter-forward {
    type filter hook forward priority filter; policy accept;
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain filter-input {
    type filter hook input priority filter; policy accept;
    ct state new jump nodeport-endpoints-check
    ct state new jump service-endpoints-check
  }
  chain filter-output {
    type filter hook output priority filter; policy accept;
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain nat-prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
  chain nat-output { type nat hook output priority -100; policy accept; jump services; }
  chain nat-postrouting { type nat hook postrouting priority srcnat; policy accept; jump masquerading; }
}
`;
}
