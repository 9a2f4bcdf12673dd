/**
 * The functions of ONNX Runtime's `OrtApi` that graft calls, by their index in the table.
 *
 * `OrtApi` is a struct of function pointers that only ever grows at its end, so a function's index never
 * changes. Indices and declarations: `onnxruntime_c_api.h`; a status is `OrtStatus*`, null for success.
 * Everything here has been in the table since ORT 1.18 or earlier.
 */

/** A function's index in the table and its C signature in Deno's terms. */
export interface Slot extends Deno.ForeignFunction {
  readonly slot: number;
}

// OrtStatus* Run(OrtSession* session, const OrtRunOptions* run_options,
//   const char* const* input_names, const OrtValue* const* inputs, size_t input_len,
//   const char* const* output_names, size_t output_names_len, OrtValue** outputs)
const RUN = {
  slot: 9,
  parameters: ["pointer", "pointer", "buffer", "buffer", "usize", "buffer", "usize", "buffer"],
  result: "pointer",
} as const;

// OrtStatus* RunWithBinding(OrtSession* session, const OrtRunOptions* run_options,
//   const OrtIoBinding* binding_ptr)
const RUN_WITH_BINDING = {
  slot: 133,
  parameters: ["pointer", "pointer", "pointer"],
  result: "pointer",
} as const;

// OrtStatus* CreateSessionFromArray(const OrtEnv* env, const void* model_data,
//   size_t model_data_length, const OrtSessionOptions* options, OrtSession** out)
const CREATE_SESSION_FROM_ARRAY = {
  slot: 8,
  parameters: ["pointer", "buffer", "usize", "pointer", "buffer"],
  result: "pointer",
} as const;

/** Handles are passed as `pointer`; out parameters, arrays and C strings as `buffer`. */
export const SLOTS = {
  // OrtErrorCode GetErrorCode(const OrtStatus* status)
  GetErrorCode: { slot: 1, parameters: ["pointer"], result: "u32" },
  // const char* GetErrorMessage(const OrtStatus* status)
  GetErrorMessage: { slot: 2, parameters: ["pointer"], result: "pointer" },
  // void ReleaseStatus(OrtStatus* input)
  ReleaseStatus: { slot: 93, parameters: ["pointer"], result: "void" },

  // OrtStatus* CreateThreadingOptions(OrtThreadingOptions** out)
  CreateThreadingOptions: { slot: 121, parameters: ["buffer"], result: "pointer" },
  // void ReleaseThreadingOptions(OrtThreadingOptions* input)
  ReleaseThreadingOptions: { slot: 122, parameters: ["pointer"], result: "void" },
  // OrtStatus* SetGlobalIntraOpNumThreads(OrtThreadingOptions* tp_options, int intra_op_num_threads)
  SetGlobalIntraOpNumThreads: { slot: 147, parameters: ["pointer", "i32"], result: "pointer" },
  // OrtStatus* SetGlobalInterOpNumThreads(OrtThreadingOptions* tp_options, int inter_op_num_threads)
  SetGlobalInterOpNumThreads: { slot: 148, parameters: ["pointer", "i32"], result: "pointer" },
  // OrtStatus* SetGlobalSpinControl(OrtThreadingOptions* tp_options, int allow_spinning)
  SetGlobalSpinControl: { slot: 149, parameters: ["pointer", "i32"], result: "pointer" },
  // OrtStatus* CreateEnvWithGlobalThreadPools(OrtLoggingLevel log_severity_level, const char* logid,
  //   const OrtThreadingOptions* tp_options, OrtEnv** out)
  CreateEnvWithGlobalThreadPools: {
    slot: 119,
    parameters: ["i32", "buffer", "pointer", "buffer"],
    result: "pointer",
  },
  // OrtStatus* DisableTelemetryEvents(const OrtEnv* env)
  DisableTelemetryEvents: { slot: 6, parameters: ["pointer"], result: "pointer" },
  // void ReleaseEnv(OrtEnv* input)
  ReleaseEnv: { slot: 92, parameters: ["pointer"], result: "void" },
  // OrtStatus* CreateArenaCfg(size_t max_mem, int arena_extend_strategy,
  //   int initial_chunk_size_bytes, int max_dead_bytes_per_chunk, OrtArenaCfg** out)
  CreateArenaCfg: {
    slot: 156,
    parameters: ["usize", "i32", "i32", "i32", "buffer"],
    result: "pointer",
  },
  // void ReleaseArenaCfg(OrtArenaCfg* input)
  ReleaseArenaCfg: { slot: 157, parameters: ["pointer"], result: "void" },
  // OrtStatus* CreateAndRegisterAllocator(OrtEnv* env, const OrtMemoryInfo* mem_info,
  //   const OrtArenaCfg* arena_cfg)
  CreateAndRegisterAllocator: {
    slot: 144,
    parameters: ["pointer", "pointer", "pointer"],
    result: "pointer",
  },
  // OrtStatus* CreateAndRegisterAllocatorV2(OrtEnv* env, const char* provider_type,
  //   const OrtMemoryInfo* mem_info, const OrtArenaCfg* arena_cfg,
  //   const char* const* provider_options_keys, const char* const* provider_options_values,
  //   size_t num_keys)
  CreateAndRegisterAllocatorV2: {
    slot: 259,
    parameters: ["pointer", "buffer", "pointer", "pointer", "buffer", "buffer", "usize"],
    result: "pointer",
  },
  // OrtStatus* GetAvailableProviders(char*** out_ptr, int* provider_length)
  GetAvailableProviders: { slot: 125, parameters: ["buffer", "buffer"], result: "pointer" },
  // OrtStatus* ReleaseAvailableProviders(char** ptr, int providers_length)
  ReleaseAvailableProviders: { slot: 126, parameters: ["pointer", "i32"], result: "pointer" },

  // OrtStatus* CreateMemoryInfo(const char* name, enum OrtAllocatorType type, int id,
  //   enum OrtMemType mem_type, OrtMemoryInfo** out)
  CreateMemoryInfo: {
    slot: 68,
    parameters: ["buffer", "i32", "i32", "i32", "buffer"],
    result: "pointer",
  },
  // OrtStatus* CreateCpuMemoryInfo(enum OrtAllocatorType type, enum OrtMemType mem_type,
  //   OrtMemoryInfo** out)
  CreateCpuMemoryInfo: { slot: 69, parameters: ["i32", "i32", "buffer"], result: "pointer" },
  // void ReleaseMemoryInfo(OrtMemoryInfo* input)
  ReleaseMemoryInfo: { slot: 94, parameters: ["pointer"], result: "void" },
  // OrtStatus* GetAllocatorWithDefaultOptions(OrtAllocator** out)
  GetAllocatorWithDefaultOptions: { slot: 78, parameters: ["buffer"], result: "pointer" },
  // OrtStatus* AllocatorFree(OrtAllocator* ort_allocator, void* p)
  AllocatorFree: { slot: 76, parameters: ["pointer", "pointer"], result: "pointer" },

  // OrtStatus* CreateRunOptions(OrtRunOptions** out)
  CreateRunOptions: { slot: 39, parameters: ["buffer"], result: "pointer" },
  // void ReleaseRunOptions(OrtRunOptions* input)
  ReleaseRunOptions: { slot: 97, parameters: ["pointer"], result: "void" },
  // OrtStatus* AddRunConfigEntry(OrtRunOptions* options, const char* config_key,
  //   const char* config_value)
  AddRunConfigEntry: {
    slot: 165,
    parameters: ["pointer", "buffer", "buffer"],
    result: "pointer",
  },

  // OrtStatus* CreateSessionOptions(OrtSessionOptions** options)
  CreateSessionOptions: { slot: 10, parameters: ["buffer"], result: "pointer" },
  // OrtStatus* SetOptimizedModelFilePath(OrtSessionOptions* options,
  //   const ORTCHAR_T* optimized_model_filepath)
  SetOptimizedModelFilePath: { slot: 11, parameters: ["pointer", "buffer"], result: "pointer" },
  // void ReleaseSessionOptions(OrtSessionOptions* input)
  ReleaseSessionOptions: { slot: 100, parameters: ["pointer"], result: "void" },
  // OrtStatus* EnableProfiling(OrtSessionOptions* options, const ORTCHAR_T* profile_file_prefix)
  EnableProfiling: { slot: 14, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* DisableMemPattern(OrtSessionOptions* options)
  DisableMemPattern: { slot: 17, parameters: ["pointer"], result: "pointer" },
  // OrtStatus* DisableCpuMemArena(OrtSessionOptions* options)
  DisableCpuMemArena: { slot: 19, parameters: ["pointer"], result: "pointer" },
  // OrtStatus* SetSessionLogId(OrtSessionOptions* options, const char* logid)
  SetSessionLogId: { slot: 20, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* SetSessionGraphOptimizationLevel(OrtSessionOptions* options,
  //   GraphOptimizationLevel graph_optimization_level)
  SetSessionGraphOptimizationLevel: { slot: 23, parameters: ["pointer", "i32"], result: "pointer" },
  // OrtStatus* SetIntraOpNumThreads(OrtSessionOptions* options, int intra_op_num_threads)
  SetIntraOpNumThreads: { slot: 24, parameters: ["pointer", "i32"], result: "pointer" },
  // OrtStatus* DisablePerSessionThreads(OrtSessionOptions* options)
  DisablePerSessionThreads: { slot: 120, parameters: ["pointer"], result: "pointer" },
  // OrtStatus* AddFreeDimensionOverrideByName(OrtSessionOptions* options, const char* dim_name,
  //   int64_t dim_value)
  AddFreeDimensionOverrideByName: {
    slot: 124,
    parameters: ["pointer", "buffer", "i64"],
    result: "pointer",
  },
  // OrtStatus* AddSessionConfigEntry(OrtSessionOptions* options, const char* config_key,
  //   const char* config_value)
  AddSessionConfigEntry: {
    slot: 130,
    parameters: ["pointer", "buffer", "buffer"],
    result: "pointer",
  },
  // OrtStatus* AddExternalInitializers(OrtSessionOptions* options,
  //   const char* const* initializer_names, const OrtValue* const* initializers,
  //   size_t num_initializers)
  AddExternalInitializers: {
    slot: 210,
    parameters: ["pointer", "buffer", "buffer", "usize"],
    result: "pointer",
  },
  // OrtStatus* SessionOptionsAppendExecutionProvider(OrtSessionOptions* options,
  //   const char* provider_name, const char* const* provider_options_keys,
  //   const char* const* provider_options_values, size_t num_keys)
  SessionOptionsAppendExecutionProvider: {
    slot: 216,
    parameters: ["pointer", "buffer", "buffer", "buffer", "usize"],
    result: "pointer",
  },
  // OrtStatus* CreateCUDAProviderOptions(OrtCUDAProviderOptionsV2** out)
  CreateCUDAProviderOptions: { slot: 205, parameters: ["buffer"], result: "pointer" },
  // OrtStatus* UpdateCUDAProviderOptions(OrtCUDAProviderOptionsV2* cuda_options,
  //   const char* const* provider_options_keys, const char* const* provider_options_values,
  //   size_t num_keys)
  UpdateCUDAProviderOptions: {
    slot: 206,
    parameters: ["pointer", "buffer", "buffer", "usize"],
    result: "pointer",
  },
  // OrtStatus* SessionOptionsAppendExecutionProvider_CUDA_V2(OrtSessionOptions* options,
  //   const OrtCUDAProviderOptionsV2* cuda_options)
  SessionOptionsAppendExecutionProvider_CUDA_V2: {
    slot: 204,
    parameters: ["pointer", "pointer"],
    result: "pointer",
  },
  // void ReleaseCUDAProviderOptions(OrtCUDAProviderOptionsV2* input)
  ReleaseCUDAProviderOptions: { slot: 208, parameters: ["pointer"], result: "void" },
  // OrtStatus* CreateTensorRTProviderOptions(OrtTensorRTProviderOptionsV2** out)
  CreateTensorRTProviderOptions: { slot: 171, parameters: ["buffer"], result: "pointer" },
  // OrtStatus* UpdateTensorRTProviderOptions(OrtTensorRTProviderOptionsV2* tensorrt_options,
  //   const char* const* provider_options_keys, const char* const* provider_options_values,
  //   size_t num_keys)
  UpdateTensorRTProviderOptions: {
    slot: 172,
    parameters: ["pointer", "buffer", "buffer", "usize"],
    result: "pointer",
  },
  // OrtStatus* SessionOptionsAppendExecutionProvider_TensorRT_V2(OrtSessionOptions* options,
  //   const OrtTensorRTProviderOptionsV2* tensorrt_options)
  SessionOptionsAppendExecutionProvider_TensorRT_V2: {
    slot: 170,
    parameters: ["pointer", "pointer"],
    result: "pointer",
  },
  // void ReleaseTensorRTProviderOptions(OrtTensorRTProviderOptionsV2* input)
  ReleaseTensorRTProviderOptions: { slot: 174, parameters: ["pointer"], result: "void" },

  // OrtStatus* CreateSession(const OrtEnv* env, const ORTCHAR_T* model_path,
  //   const OrtSessionOptions* options, OrtSession** out)
  CreateSession: {
    slot: 7,
    parameters: ["pointer", "buffer", "pointer", "buffer"],
    result: "pointer",
    nonblocking: true,
  },
  CreateSessionFromArray: { ...CREATE_SESSION_FROM_ARRAY, nonblocking: true },
  // CreateSessionFromArray again, blocking: for graphs of one node
  CreateSessionFromArrayHere: CREATE_SESSION_FROM_ARRAY,
  // void ReleaseSession(OrtSession* input)
  ReleaseSession: { slot: 95, parameters: ["pointer"], result: "void" },
  // OrtStatus* SessionGetInputCount(const OrtSession* session, size_t* out)
  SessionGetInputCount: { slot: 30, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* SessionGetOutputCount(const OrtSession* session, size_t* out)
  SessionGetOutputCount: { slot: 31, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* SessionGetInputTypeInfo(const OrtSession* session, size_t index,
  //   OrtTypeInfo** type_info)
  SessionGetInputTypeInfo: {
    slot: 33,
    parameters: ["pointer", "usize", "buffer"],
    result: "pointer",
  },
  // OrtStatus* SessionGetOutputTypeInfo(const OrtSession* session, size_t index,
  //   OrtTypeInfo** type_info)
  SessionGetOutputTypeInfo: {
    slot: 34,
    parameters: ["pointer", "usize", "buffer"],
    result: "pointer",
  },
  // OrtStatus* SessionGetInputName(const OrtSession* session, size_t index,
  //   OrtAllocator* allocator, char** value)
  SessionGetInputName: {
    slot: 36,
    parameters: ["pointer", "usize", "pointer", "buffer"],
    result: "pointer",
  },
  // OrtStatus* SessionGetOutputName(const OrtSession* session, size_t index,
  //   OrtAllocator* allocator, char** value)
  SessionGetOutputName: {
    slot: 37,
    parameters: ["pointer", "usize", "pointer", "buffer"],
    result: "pointer",
  },
  Run: { ...RUN, nonblocking: true },
  // Run again, blocking: for runs that are too short for another thread
  RunHere: RUN,
  // OrtStatus* SessionEndProfiling(OrtSession* session, OrtAllocator* allocator, char** out)
  SessionEndProfiling: {
    slot: 110,
    parameters: ["pointer", "pointer", "buffer"],
    result: "pointer",
  },

  // OrtStatus* SessionGetProfilingStartTimeNs(const OrtSession* session, uint64_t* out)
  SessionGetProfilingStartTimeNs: {
    slot: 146,
    parameters: ["pointer", "buffer"],
    result: "pointer",
  },

  // OrtStatus* SessionGetModelMetadata(const OrtSession* session, OrtModelMetadata** out)
  SessionGetModelMetadata: { slot: 111, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* ModelMetadataGetProducerName(const OrtModelMetadata* model_metadata,
  //   OrtAllocator* allocator, char** value)
  ModelMetadataGetProducerName: {
    slot: 112,
    parameters: ["pointer", "pointer", "buffer"],
    result: "pointer",
  },
  // OrtStatus* ModelMetadataGetGraphName(const OrtModelMetadata* model_metadata,
  //   OrtAllocator* allocator, char** value)
  ModelMetadataGetGraphName: {
    slot: 113,
    parameters: ["pointer", "pointer", "buffer"],
    result: "pointer",
  },
  // OrtStatus* ModelMetadataGetDomain(const OrtModelMetadata* model_metadata,
  //   OrtAllocator* allocator, char** value)
  ModelMetadataGetDomain: {
    slot: 114,
    parameters: ["pointer", "pointer", "buffer"],
    result: "pointer",
  },
  // OrtStatus* ModelMetadataGetDescription(const OrtModelMetadata* model_metadata,
  //   OrtAllocator* allocator, char** value)
  ModelMetadataGetDescription: {
    slot: 115,
    parameters: ["pointer", "pointer", "buffer"],
    result: "pointer",
  },
  // OrtStatus* ModelMetadataLookupCustomMetadataMap(const OrtModelMetadata* model_metadata,
  //   OrtAllocator* allocator, const char* key, char** value)
  ModelMetadataLookupCustomMetadataMap: {
    slot: 116,
    parameters: ["pointer", "pointer", "buffer", "buffer"],
    result: "pointer",
  },
  // OrtStatus* ModelMetadataGetVersion(const OrtModelMetadata* model_metadata, int64_t* value)
  ModelMetadataGetVersion: { slot: 117, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* ModelMetadataGetCustomMetadataMapKeys(const OrtModelMetadata* model_metadata,
  //   OrtAllocator* allocator, char*** keys, int64_t* num_keys)
  ModelMetadataGetCustomMetadataMapKeys: {
    slot: 123,
    parameters: ["pointer", "pointer", "buffer", "buffer"],
    result: "pointer",
  },
  // void ReleaseModelMetadata(OrtModelMetadata* input)
  ReleaseModelMetadata: { slot: 118, parameters: ["pointer"], result: "void" },

  // OrtStatus* CreateTensorAsOrtValue(OrtAllocator* allocator, const int64_t* shape,
  //   size_t shape_len, ONNXTensorElementDataType type, OrtValue** out)
  CreateTensorAsOrtValue: {
    slot: 48,
    parameters: ["pointer", "buffer", "usize", "i32", "buffer"],
    result: "pointer",
  },
  // OrtStatus* CreateTensorWithDataAsOrtValue(const OrtMemoryInfo* info, void* p_data,
  //   size_t p_data_len, const int64_t* shape, size_t shape_len, ONNXTensorElementDataType type,
  //   OrtValue** out)
  CreateTensorWithDataAsOrtValue: {
    slot: 49,
    parameters: ["pointer", "pointer", "usize", "buffer", "usize", "i32", "buffer"],
    result: "pointer",
  },
  // void ReleaseValue(OrtValue* input)
  ReleaseValue: { slot: 96, parameters: ["pointer"], result: "void" },
  // OrtStatus* GetValueType(const OrtValue* value, enum ONNXType* out)
  GetValueType: { slot: 67, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* GetTensorMutableData(OrtValue* value, void** out)
  GetTensorMutableData: { slot: 51, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* GetTensorTypeAndShape(const OrtValue* value, OrtTensorTypeAndShapeInfo** out)
  GetTensorTypeAndShape: { slot: 65, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* GetOnnxTypeFromTypeInfo(const OrtTypeInfo* type_info, enum ONNXType* out)
  GetOnnxTypeFromTypeInfo: { slot: 56, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* CastTypeInfoToTensorInfo(const OrtTypeInfo* type_info,
  //   const OrtTensorTypeAndShapeInfo** out)
  CastTypeInfoToTensorInfo: { slot: 55, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* GetTensorElementType(const OrtTensorTypeAndShapeInfo* info,
  //   enum ONNXTensorElementDataType* out)
  GetTensorElementType: { slot: 60, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* GetDimensionsCount(const OrtTensorTypeAndShapeInfo* info, size_t* out)
  GetDimensionsCount: { slot: 61, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* GetDimensions(const OrtTensorTypeAndShapeInfo* info, int64_t* dim_values,
  //   size_t dim_values_length)
  GetDimensions: { slot: 62, parameters: ["pointer", "buffer", "usize"], result: "pointer" },
  // OrtStatus* GetSymbolicDimensions(const OrtTensorTypeAndShapeInfo* info,
  //   const char* dim_params[], size_t dim_params_length)
  GetSymbolicDimensions: {
    slot: 63,
    parameters: ["pointer", "buffer", "usize"],
    result: "pointer",
  },
  // void ReleaseTypeInfo(OrtTypeInfo* input)
  ReleaseTypeInfo: { slot: 98, parameters: ["pointer"], result: "void" },
  // void ReleaseTensorTypeAndShapeInfo(OrtTensorTypeAndShapeInfo* input)
  ReleaseTensorTypeAndShapeInfo: { slot: 99, parameters: ["pointer"], result: "void" },

  // OrtStatus* CreateIoBinding(OrtSession* session, OrtIoBinding** out)
  CreateIoBinding: { slot: 134, parameters: ["pointer", "buffer"], result: "pointer" },
  // OrtStatus* BindInput(OrtIoBinding* binding_ptr, const char* name, const OrtValue* val_ptr)
  BindInput: { slot: 136, parameters: ["pointer", "buffer", "pointer"], result: "pointer" },
  // OrtStatus* BindOutput(OrtIoBinding* binding_ptr, const char* name, const OrtValue* val_ptr)
  BindOutput: { slot: 137, parameters: ["pointer", "buffer", "pointer"], result: "pointer" },
  // OrtStatus* BindOutputToDevice(OrtIoBinding* binding_ptr, const char* name,
  //   const OrtMemoryInfo* mem_info_ptr)
  BindOutputToDevice: {
    slot: 138,
    parameters: ["pointer", "buffer", "pointer"],
    result: "pointer",
  },
  // OrtStatus* GetBoundOutputValues(const OrtIoBinding* binding_ptr, OrtAllocator* allocator,
  //   OrtValue*** output, size_t* output_count)
  GetBoundOutputValues: {
    slot: 140,
    parameters: ["pointer", "pointer", "buffer", "buffer"],
    result: "pointer",
  },
  RunWithBinding: { ...RUN_WITH_BINDING, nonblocking: true },
  // RunWithBinding again, blocking
  RunWithBindingHere: RUN_WITH_BINDING,
  // OrtStatus* SynchronizeBoundInputs(OrtIoBinding* binding_ptr)
  SynchronizeBoundInputs: { slot: 202, parameters: ["pointer"], result: "pointer" },
  // OrtStatus* SynchronizeBoundOutputs(OrtIoBinding* binding_ptr)
  SynchronizeBoundOutputs: { slot: 203, parameters: ["pointer"], result: "pointer" },
  // void ReleaseIoBinding(OrtIoBinding* input)
  ReleaseIoBinding: { slot: 135, parameters: ["pointer"], result: "void" },
} as const satisfies Record<string, Slot>;
