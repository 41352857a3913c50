// driver_stub: as libcuda.so.1, what cuDNN calls of the driver while it builds plans for a GPU that is not here. Each
// function succeeds and does nothing; a handle that it returns is not NULL.

static int handle;
#define DOES_NOTHING(name)                                                                                             \
    int name(void);                                                                                                    \
    int name(void) { return 0; }
#define RETURNS_HANDLE(name)                                                                                           \
    int name(void **result);                                                                                           \
    int name(void **result) {                                                                                          \
        *result = &handle;                                                                                             \
        return 0;                                                                                                      \
    }

RETURNS_HANDLE(cuKernelGetFunction)
RETURNS_HANDLE(cuLibraryGetKernel)
RETURNS_HANDLE(cuLibraryLoadData)
RETURNS_HANDLE(cuLibraryLoadFromFile)
RETURNS_HANDLE(cuLinkCreate)
RETURNS_HANDLE(cuModuleGetFunction)
RETURNS_HANDLE(cuModuleLoadData)
DOES_NOTHING(cuCtxGetCurrent)
DOES_NOTHING(cuCtxGetLimit)
DOES_NOTHING(cuCtxPopCurrent)
DOES_NOTHING(cuCtxPushCurrent)
DOES_NOTHING(cuDeviceGet)
DOES_NOTHING(cuDeviceGetCount)
DOES_NOTHING(cuDriverGetVersion)
DOES_NOTHING(cuGetErrorName)
DOES_NOTHING(cuGetErrorString)
DOES_NOTHING(cuKernelGetAttribute)
DOES_NOTHING(cuKernelSetAttribute)
DOES_NOTHING(cuLaunchCooperativeKernel)
DOES_NOTHING(cuLaunchKernel)
DOES_NOTHING(cuLaunchKernelEx)
DOES_NOTHING(cuLibraryUnload)
DOES_NOTHING(cuLinkAddData)
DOES_NOTHING(cuLinkComplete)
DOES_NOTHING(cuLinkDestroy)
DOES_NOTHING(cuModuleUnload)
DOES_NOTHING(cuOccupancyMaxPotentialClusterSize)
DOES_NOTHING(cuStreamGetCtx)
DOES_NOTHING(cuTensorMapEncodeIm2col)
DOES_NOTHING(cuTensorMapEncodeTiled)
