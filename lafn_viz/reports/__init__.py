"""Results become pages that can be sent: one report, or an atlas of many studies."""
