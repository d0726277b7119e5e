//! Node proxy: programs the kernel from Services and EndpointSlices.
