//! The report of a matrix.
//! Why generated: a table that somebody types is a claim, one that a run writes is a finding.
