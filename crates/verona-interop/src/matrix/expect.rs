//! What has to come of each cell.
//! Why written down apart from what runs it: an expectation that is read off a run expects nothing.
