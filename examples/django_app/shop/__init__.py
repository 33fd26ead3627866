"""An order is a row; its confirmation is a job."""
