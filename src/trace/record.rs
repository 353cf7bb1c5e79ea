//! A finished request, as HAProxy hands it over.
