/**
 * Runs `callback` in a later turn of the event loop, as soon as possible, in the order of the calls. Pages have no
 * `setImmediate`; a message to themselves comes about as soon, and `setTimeout` would take 4 ms.
 */
export const soon: (callback: () => void) => void =
  (globalThis as unknown as { setImmediate?: (callback: () => void) => void }).setImmediate ?? byMessage();

function byMessage(): (callback: () => void) => void {
  const waiting: (() => void)[] = [];
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => waiting.shift()!();
  return (callback) => {
    waiting.push(callback);
    port2.postMessage(undefined);
  };
}
