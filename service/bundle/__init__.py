"""The model bundle: its format, reader, verification and tokenizer; shared by training and serving."""
