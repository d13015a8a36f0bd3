/** `17 B`, `4.2 KB`, `1.3 GB`. */
export function bytesText(bytes: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (bytes >= 1_000 && at < units.length - 1) {
    bytes /= 1_000;
    at++;
  }
  return `${at === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)} ${units[at]}`;
}

/** `120 us`, `3.2 ms`, `45 s`, `3 h`; `> 10 s` for what is above what is measured. */
export function secondsText(seconds: number | null): string {
  if (seconds === null) return "> 10 s";
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} us`;
  if (seconds < 1) return `${round(seconds * 1e3)} ms`;
  if (seconds < 120) return `${round(seconds)} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

function round(value: number): string {
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(2)));
}
