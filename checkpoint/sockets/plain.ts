/** Maps with text keys as the plain objects that they were. */
export function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (!(value instanceof Map)) return value instanceof Uint8Array ? value.slice() : value;
  const entries = [...value].map(([key, each]) => [key, plain(each)] as const);
  if (entries.some(([key]) => typeof key !== "string")) return new Map(entries);
  return Object.fromEntries(entries);
}
