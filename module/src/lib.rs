//! The shared object that HAProxy loads. No policy here.
