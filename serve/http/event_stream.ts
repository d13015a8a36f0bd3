/** An event for `EventSource` (HTML section 9.2). */
export interface ServerEvent {
  /** What is told, in one line or several. */
  data: string;
  /** Its type; `message` when absent. */
  event?: string;
  /** What the client says in `Last-Event-ID` when it connects again. */
  id?: string;
  /** Milliseconds until it does. */
  retry?: number;
}

/**
 * An event's text.
 * @throws {TypeError} When a line break would end a field early.
 */
export function eventText({ data, event, id, retry }: ServerEvent): string {
  let text = "";
  for (const [name, value] of [["event", event], ["id", id]] as const) {
    if (value === undefined) continue;
    if (/[\r\n\0]/.test(value)) {
      throw new TypeError(`An event's ${name} is one line: ${JSON.stringify(value)}`);
    }
    text += `${name}: ${value}\n`;
  }
  if (retry !== undefined) text += `retry: ${Math.trunc(retry)}\n`;
  for (const line of data.split(/\r\n|\r|\n/)) text += `data: ${line}\n`;
  return `${text}\n`;
}
