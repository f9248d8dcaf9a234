// glibc's mallinfo2, which Swift's module of the C library leaves out. Other systems have no such header, or one without it.
#if __has_include(<malloc.h>)
#include <malloc.h>
#endif
