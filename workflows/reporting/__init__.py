"""Reports: reads only. Tables as XLSX and CSV, the history as XES."""
