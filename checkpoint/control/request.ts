import { ControlError } from "./control_error.ts";

/** What may be asked of a running host, a line of JSON each. */
export type ControlRequest =
  | { readonly do: "status" }
  | { readonly do: "ls"; readonly port?: number; readonly from?: string; readonly state?: ConnectionState }
  | { readonly do: "inspect"; readonly id: string }
  | { readonly do: "suspend"; readonly id?: string }
  | { readonly do: "restore"; readonly id: string }
  | { readonly do: "capture"; readonly port?: number; readonly keys?: boolean };

/** What holds a connection. */
export type ConnectionState = "awake" | "saving" | "asleep" | "waking";
export const CONNECTION_STATES: readonly ConnectionState[] = ["awake", "saving", "asleep", "waking"];

/** What is asked of something that the host does not know itself, such as `patch`. */
export type ControlExtension = (request: Readonly<Record<string, unknown>>) => Promise<object>;

const extensions = new Map<string, ControlExtension>();

/**
 * Lets every control socket of this thread take requests whose `do` is `name`: `answer` gets the line's object and gives
 * what is answered beside `ok`, or throws an error that says no.
 */
export function extendControl(name: string, answer: ControlExtension): void {
  extensions.set(name, answer);
}

/** Who answers a line; `undefined` when that is the host. */
export function extensionFor(line: string): (() => Promise<object>) | undefined {
  if (extensions.size === 0) return undefined;
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch {
    return undefined; // parseRequest() says why
  }
  if (typeof read !== "object" || read === null) return undefined;
  const { do: what } = read as Record<string, unknown>;
  const answer = typeof what === "string" ? extensions.get(what) : undefined;
  return answer === undefined ? undefined : () => answer(read as Record<string, unknown>);
}

type Check = (value: unknown) => boolean;
const isText: Check = (value) => typeof value === "string" && value.length <= 256;
const isPort: Check = (value) =>
  Number.isInteger(value) && (value as number) > 0 && (value as number) < 65_536;
const isFlag: Check = (value) => typeof value === "boolean";
const isState: Check = (value) => CONNECTION_STATES.includes(value as ConnectionState);

/** The members of each request; those with `!` must be there. */
const MEMBERS: Readonly<Record<ControlRequest["do"], Readonly<Record<string, Check>>>> = {
  status: {},
  ls: { port: isPort, from: isText, state: isState },
  inspect: { "id!": isText },
  suspend: { id: isText },
  restore: { "id!": isText },
  capture: { port: isPort, keys: isFlag },
};

/**
 * A request out of a line.
 * @throws {ControlError} `refused`, saying what is wrong with it.
 */
export function parseRequest(line: string): ControlRequest {
  const refuse = (why: string): never => {
    throw new ControlError("refused", `Cannot understand the request: ${why}`);
  };
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch {
    return refuse("it is no JSON");
  }
  if (typeof read !== "object" || read === null || Array.isArray(read)) return refuse("it is no object");
  const { do: what, ...rest } = read as Record<string, unknown>;
  if (typeof what !== "string" || !Object.hasOwn(MEMBERS, what)) {
    return refuse(`"do" must be one of ${Object.keys(MEMBERS).join(", ")}`);
  }
  const members = MEMBERS[what as ControlRequest["do"]];
  for (const [name, value] of Object.entries(rest)) {
    const check = Object.hasOwn(members, name) ? members[name] : members[`${name}!`];
    if (check === undefined) refuse(`"${what}" has no "${name}"`);
    else if (!check(value)) refuse(`"${name}" of "${what}" is ${JSON.stringify(value).slice(0, 64)}`);
  }
  for (const name of Object.keys(members)) {
    if (name.endsWith("!") && !Object.hasOwn(rest, name.slice(0, -1))) {
      refuse(`"${what}" needs "${name.slice(0, -1)}"`);
    }
  }
  return read as ControlRequest;
}
