import type { DhcpLease } from "../dhcp/lease.ts";
import { type AddressSpec, type RouteConfig, RouteError, type RouteSpec } from "../ip/route_config.ts";
import { isInPrefix, parseIpv4 } from "../wire/address.ts";

/**
 * A host's own addresses and routes with those of its leases. What was configured by hand wins: a lease's
 * route to a network that has one already is left out.
 *
 * @param leases By interface.
 */
export function withLeases(
  config: RouteConfig,
  leases: ReadonlyMap<number, DhcpLease>,
): RouteConfig {
  const addresses: AddressSpec[] = [...config.addresses ?? []];
  const routes: RouteSpec[] = [...config.routes ?? []];
  const known = new Set(routes.map(({ destination }) => destination));
  if (addresses.some(({ address, gateway }) => gateway !== undefined && !address.includes(":"))) {
    known.add("0.0.0.0/0");
  }
  for (const [interfaceIndex, lease] of leases) {
    addresses.push({ address: `${lease.address}/${lease.prefixLength}`, interface: interfaceIndex });
    const add = (route: RouteSpec): void => {
      if (known.has(route.destination)) return;
      known.add(route.destination);
      routes.push(route);
    };
    for (const { destination, gateway } of lease.routes) {
      // A router beside the network of the address, as with leases of one address, is on the link.
      const far = gateway !== undefined &&
        !isInPrefix(parseIpv4(gateway)!, parseIpv4(lease.address)!, lease.prefixLength);
      if (far) add({ destination: `${gateway}/32`, interface: interfaceIndex });
      add({ destination, interface: interfaceIndex, source: lease.address, ...(gateway ? { gateway } : {}) });
    }
  }
  return { ...config, addresses, routes };
}

/**
 * As `take`, but leaves out the routes of leases that make no sense, one by one: a server's mistake must not
 * cost the address.
 * @returns The routes that were left out.
 */
export function takeLeases(
  config: RouteConfig,
  leases: ReadonlyMap<number, DhcpLease>,
  take: (config: RouteConfig) => void,
): RouteSpec[] {
  const all = withLeases(config, leases);
  const own = config.routes?.length ?? 0;
  const left: RouteSpec[] = [];
  for (let routes = [...all.routes ?? []];;) {
    try {
      take({ ...all, routes });
      return left;
    } catch (error) {
      const at = error instanceof RouteError ? Number(/^routes\[(\d+)\]/.exec(error.path)?.[1] ?? -1) : -1;
      if (at < own) throw error;
      left.push(routes[at]!);
      routes = routes.filter((_, index) => index !== at);
    }
  }
}
