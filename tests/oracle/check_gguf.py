"""Lists a GGUF file as gguf-py reads it, to see that a file written by lorac is one.

pip install gguf numpy; python3 check_gguf.py FILE.gguf
"""
import sys
import gguf

reader = gguf.GGUFReader(sys.argv[1])
for name, field in reader.fields.items():
    print(name, "=", field.contents())
for t in reader.tensors:
    print(t.name, t.tensor_type.name, list(t.shape), t.data.reshape(-1)[:4])
