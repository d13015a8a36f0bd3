import type { Scanner } from "./scanner.ts";
import type { Expression, SyscallAction } from "./script.ts";

/** `name(arguments) = result [ERRNO] [(note)]`. */
export function parseSyscall(scanner: Scanner, endUs: number | undefined): SyscallAction {
  const name = scanner.need(/[a-z_]\w*/, "a packet, a system call, a command or code")[0];
  scanner.need(/\(/, `"(" after "${name}"`);
  const args = parseList(scanner, /\)/);
  scanner.need(/=/, `"=" and the result of "${name}"`);
  const result = parseExpression(scanner);
  const errno = scanner.take(/E[A-Z0-9]+\b/)?.[0];
  scanner.take(/\([^)\n]*\)/); // a note
  return { kind: "syscall", name, args, result, errno, endUs };
}

/** Expressions with commas between them, and what ends them. */
function parseList(scanner: Scanner, end: RegExp): Expression[] {
  const items: Expression[] = [];
  if (scanner.take(end) !== undefined) return items;
  do items.push(parseExpression(scanner)); while (scanner.take(/,/) !== undefined);
  scanner.need(end, `"," or "${end.source.replace("\\", "")}"`);
  return items;
}

export function parseExpression(scanner: Scanner): Expression {
  const left = parseTerm(scanner);
  if (scanner.take(/\|/) === undefined) return left;
  return { kind: "or", left, right: parseExpression(scanner) };
}

function parseTerm(scanner: Scanner): Expression {
  if (scanner.take(/\.\.\./) !== undefined) return { kind: "any" };
  const number = scanner.take(/-?(?:0x[0-9a-fA-F]+|\d+)/);
  if (number !== undefined) {
    const text = number[0];
    return { kind: "number", value: text.startsWith("-") ? -Number(text.slice(1)) : Number(text) };
  }
  if (scanner.take(/\[/) !== undefined) return { kind: "list", items: parseList(scanner, /\]/) };
  if (scanner.take(/\{/) !== undefined) return { kind: "struct", items: parseList(scanner, /\}/) };
  if (scanner.sees(/"/)) {
    let value = "";
    for (let part; (part = scanner.take(/"((?:[^"\\]|\\.)*)"/)) !== undefined;) value += part[1]!;
    scanner.take(/\.\.\./);
    return { kind: "string", value };
  }
  const name = scanner.need(/[A-Za-z_]\w*/, "an expression")[0];
  const called = scanner.take(/\(/) !== undefined;
  const args = called ? parseList(scanner, /\)/) : [];
  if (scanner.take(/=/) !== undefined) return { kind: "field", name, args, value: parseExpression(scanner) };
  return called ? { kind: "call", name, args } : { kind: "word", name };
}
