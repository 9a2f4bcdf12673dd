/** Why an adapter cannot be loaded, in the API's stable codes. */
import { ApiError } from "./api_error.ts";

export function invalidAdapter(why: string): ApiError {
  return new ApiError(400, `The adapter cannot be used: ${why}`, {
    param: "lora_path",
    code: "invalid_lora_adapter",
  });
}

/** @param which its name, or `number 3` */
export function adapterNotFound(which: string): ApiError {
  return new ApiError(404, `There is no adapter ${which}`, {
    param: "lora_name",
    code: "lora_adapter_not_found",
  });
}
