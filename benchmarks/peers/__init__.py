"""One script a peer: the same job, done the way its library's documentation shows. All archives are stored."""
