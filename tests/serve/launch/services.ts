import type { Service } from "../../../checkpoint/appliances/appliance.ts";

/** A service that an image describes with as little as may be. */
export function serviceOf(name: string, entrypoint: readonly string[], more: Partial<Service> = {}): Service {
  return { name, entrypoint, cmd: [], env: [], ports: [], user: "", workingDir: "", ...more };
}
