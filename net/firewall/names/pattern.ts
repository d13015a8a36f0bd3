/** Characters of a domain name (RFC 1035 section 2.3.4). */
const NAME_MAX = 253;
const LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?";
const PATTERN = new RegExp(`^(?:\\*\\.)?${LABEL}(?:\\.${LABEL})*$`);

/**
 * A pattern of domain names in its one form: `example.com` is that name, `*.example.com` every name below it, at any depth,
 * and not itself. Undefined for what is no pattern. Names that are not ASCII are written as DNS has them (`xn--`).
 */
export function parseNamePattern(text: string): string | undefined {
  const pattern = canonicalName(text);
  return pattern.length <= NAME_MAX && PATTERN.test(pattern) ? pattern : undefined;
}

/** A name as it is compared: lower case, without the dot of the root. */
export function canonicalName(name: string): string {
  return name.toLowerCase().replace(/\.$/, "");
}

/** Whether a name is one that a pattern means. */
export function matchesName(pattern: string, name: string): boolean {
  const canonical = canonicalName(name);
  return pattern.startsWith("*.") ? canonical.endsWith(pattern.slice(1)) : canonical === pattern;
}
