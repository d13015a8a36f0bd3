import { NetworkNamespace } from "../../tests/support/netns.ts";

/** Where the server is. */
export const SERVER = {
  address: "10.7.0.1",
  network: "10.7.0.1/24",
  subnet: "10.7.0.0/24",
  port: 7,
} as const;
/** The TUN interface, which stays when the process that holds it dies, as a cable stays in its socket. */
export const TUN = "million0";
/** Connections of one client process: a descriptor each, and a process may have 20,000 as a rule. */
export const SOCKETS_MAX = 19_900;

/** The address of client process number `index`: each has its own, with some 28,000 ports. */
export function clientAddress(index: number): string {
  return `10.9.${index >> 8}.${(index & 255) + 1}`;
}

/** A namespace with the kernel's clients and a TUN interface towards us. */
export function makeNetwork(clients: number): NetworkNamespace {
  const netns = new NetworkNamespace();
  try {
    const run = (...args: string[]): string => netns.run("ip", ...args);
    run("tuntap", "add", "dev", TUN, "mode", "tun");
    netns.run("sh", "-c", `echo 1 > /proc/sys/net/ipv6/conf/${TUN}/disable_ipv6`);
    for (let index = 0; index < clients; index++) {
      run("addr", "add", `${clientAddress(index)}/32`, "dev", TUN);
    }
    run("link", "set", TUN, "txqueuelen", "10000", "up");
    run("route", "add", SERVER.subnet, "dev", TUN);
    return netns;
  } catch (error) {
    netns[Symbol.dispose]();
    throw error;
  }
}
