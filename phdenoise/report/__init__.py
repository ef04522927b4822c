"""Reports: one page layout, the trust report, and the files that a fitted law leaves."""
