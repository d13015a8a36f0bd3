/** Recordings of runs, and what becomes of them: `torpor replay`. @module */
export { type CaptureFed, type CaptureOptions, feedCapture, hostsOf } from "./capture.ts";
export { Difference, type PlayedFrame, type ReplayPlace } from "./difference.ts";
export { ReplayError } from "./event.ts";
export type { PlayObserver } from "./observer.ts";
export { Player, type PlayerOptions } from "./player.ts";
export { ReplayReader, type ReplaySource } from "./reader.ts";
export { type OpenRecording, openRecording, recordTo } from "./replay_file.ts";
export { Recorder, type RecorderOptions } from "./recorder.ts";
