import { join } from "node:path";
import type { Service } from "../../../checkpoint/appliances/appliance.ts";

/** What of Deno's namespace is a service's own beside its network. */
export interface ServiceEnvironment {
  readonly env: {
    get(name: string): string | undefined;
    set(name: string, value: string): void;
    has(name: string): boolean;
    delete(name: string): void;
    toObject(): Record<string, string>;
  };
  readonly args: readonly string[];
  /** The working directory of the image's configuration, where it lies on the machine. */
  cwd(): string;
  exit(code?: number): never;
}

/** The environment, arguments and working directory that an image's configuration gives a program. */
export function environmentOf(
  service: Pick<Service, "env" | "workingDir">,
  root: string,
  args: readonly string[],
  exit: (code: number) => never,
): ServiceEnvironment {
  const variables = new Map(service.env.map((each) => {
    const at = each.indexOf("=");
    return at < 0 ? [each, ""] : [each.slice(0, at), each.slice(at + 1)];
  }));
  return {
    env: {
      get: (name) => variables.get(name),
      set: (name, value) => void variables.set(name, value),
      has: (name) => variables.has(name),
      delete: (name) => void variables.delete(name),
      toObject: () => Object.fromEntries(variables),
    },
    args,
    cwd: () => join(root, service.workingDir),
    exit: (code = 0) => exit(code),
  };
}
