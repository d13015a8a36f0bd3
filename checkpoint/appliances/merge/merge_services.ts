import type { Service } from "../appliance.ts";
import type { Conflict, MergeSide } from "./merged.ts";
import type { Policy } from "./policy.ts";

/** All programs, and what two of them both want. */
export function mergeServices(
  sides: readonly MergeSide[],
  ports: Policy["ports"],
): { services: Service[]; conflicts: Conflict[] } {
  const conflicts: Conflict[] = [];
  const services = sides.flatMap(({ services }) => services);
  const owners = (key: string, of: (service: Service) => readonly string[]): MergeSide[] =>
    sides.filter((side) => side.services.some((service) => of(service).includes(key)));
  const twice = (kind: "port" | "service", of: (service: Service) => readonly string[]): void => {
    const keys = new Set(services.flatMap(of));
    for (const key of keys) {
      const both = owners(key, of);
      if (both.length < 2) continue;
      conflicts.push({
        kind,
        path: key,
        sides: both.map(({ name, services }) => {
          const { entrypoint, cmd } = services.find((each) => of(each).includes(key))!;
          return { name, what: `starts ${[...entrypoint, ...cmd].join(" ")}` };
        }),
        why: [],
      });
    }
  };
  twice("service", ({ name }) => [name]);
  if (ports === "conflict") twice("port", ({ ports }) => ports);
  return { services, conflicts };
}
