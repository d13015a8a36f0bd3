import type { Terminal } from "./command.ts";

const CODES = { red: 31, green: 32, yellow: 33, cyan: 36, dim: 2, bold: 1 } as const;
export type Color = keyof typeof CODES;

/** Text in a colour, where there are colours: NO_COLOR and files have none. */
export function paint({ color }: Pick<Terminal, "color">, name: Color, text: string): string {
  return color ? `\x1b[${CODES[name]}m${text}\x1b[0m` : text;
}

/** What a recording or a packet may not do to a terminal: control characters are shown as what they are. */
export function printable(text: string): string {
  // deno-lint-ignore no-control-regex -- they are what is looked for
  return text.replace(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/g, (char) => {
    return `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}
