const DURATION = /^(?:(\d{1,6})d)?(?:(\d{1,8})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,10})s)?(?:(\d{1,10})ms)?$/;

/** Seconds in `1d2h3m4s`, a bare number being seconds and parts of one rounded down, or undefined. */
export function readDuration(text: string): number | undefined {
  if (/^\d{1,10}$/.test(text)) return Number(text);
  const parts = DURATION.exec(text);
  if (parts === null || text === "") return undefined;
  const part = (at: number): number => Number(parts[at] ?? 0);
  const seconds = part(1) * 86_400 + part(2) * 3_600 + part(3) * 60 + part(4) + Math.floor(part(5) / 1000);
  return seconds <= 0xffff_ffff ? seconds : undefined;
}

/** Seconds as nft prints them: `1d2h3m4s`. */
export function formatDuration(seconds: number): string {
  let text = "";
  let rest = seconds;
  for (const [unit, size] of [["d", 86_400], ["h", 3_600], ["m", 60], ["s", 1]] as const) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) text += `${count}${unit}`;
  }
  return text === "" ? "0s" : text;
}

/** A handle of traffic control, `major:minor` in hexadecimal. */
export function readClassid(text: string): number | undefined {
  const parts = /^([\da-f]{0,4}):([\da-f]{0,4})$/i.exec(text);
  if (parts === null || text === ":") return undefined;
  return Number(`0x0${parts[1]}`) * 0x1_0000 + Number(`0x0${parts[2]}`);
}

export function formatClassid(value: number): string {
  return `${Math.floor(value / 0x1_0000).toString(16)}:${(value % 0x1_0000).toString(16)}`;
}

/** Seconds since midnight in `17:30` or `17:30:15`. */
export function readHour(text: string): number | undefined {
  const parts = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(text);
  if (parts === null) return undefined;
  const [hours, minutes, seconds] = [Number(parts[1]), Number(parts[2]), Number(parts[3] ?? 0)];
  return hours < 24 && minutes < 60 && seconds < 60 ? hours * 3_600 + minutes * 60 + seconds : undefined;
}

export function formatHour(value: number): string {
  const two = (part: number): string => String(part).padStart(2, "0");
  const seconds = value % 60;
  const short = `${two(Math.floor(value / 3_600))}:${two(Math.floor(value / 60) % 60)}`;
  return seconds === 0 ? short : `${short}:${two(seconds)}`;
}

/** Days from 1970-01-01 to a date of the Gregorian calendar: no clock and no time zone is asked. */
function daysTo(year: number, month: number, day: number): number {
  const shifted = month > 2 ? year : year - 1; // years begin with March, so that the leap day ends them
  const era = Math.floor(shifted / 400);
  const yearOfEra = shifted - era * 400;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  const dayOfEra = yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear;
  return era * 146_097 + dayOfEra - 719_468;
}

/** Seconds since 1970 in `2026-11-29` or `2026-11-29 17:30:00`, UTC. */
export function readDate(text: string): number | undefined {
  const parts = /^(\d{4})-(\d{2})-(\d{2})(?:[ T](\d{2}:\d{2}(?::\d{2})?))?$/.exec(text);
  if (parts === null) return undefined;
  const [year, month, day] = [Number(parts[1]), Number(parts[2]), Number(parts[3])];
  const inDay = parts[4] === undefined ? 0 : readHour(parts[4]);
  if (year < 1970 || month < 1 || month > 12 || day < 1 || inDay === undefined) return undefined;
  const begins = daysTo(year, month, 1);
  const ends = month === 12 ? daysTo(year + 1, 1, 1) : daysTo(year, month + 1, 1);
  return day <= ends - begins ? (begins + day - 1) * 86_400 + inDay : undefined;
}

/** The date in the form that `readDate` takes; the last it can name is the end of 9999. */
export function formatDate(value: number): string {
  const days = Math.floor(value / 86_400);
  let year = 1970 + Math.floor(days / 366);
  while (daysTo(year + 1, 1, 1) <= days) year++;
  let month = 1;
  while (month < 12 && daysTo(year, month + 1, 1) <= days) month++;
  const day = days - daysTo(year, month, 1) + 1;
  const inDay = value - days * 86_400;
  const clock = formatHour(inDay);
  const two = (part: number): string => String(part).padStart(2, "0");
  const date = `${String(year).padStart(4, "0")}-${two(month)}-${two(day)}`;
  return `${date} ${clock.length === 5 ? `${clock}:00` : clock}`;
}
