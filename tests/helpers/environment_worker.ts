/** Opens and releases ONNX Runtime's environment in a worker. */
/// <reference lib="webworker" />
import { Environment, openLibrary } from "../../ffi/mod.ts";

self.onmessage = ({ data }: MessageEvent<string>) => {
  try {
    Environment.acquire(openLibrary(data)).release();
    self.postMessage("released");
  } catch (error) {
    self.postMessage(String(error));
  }
};
