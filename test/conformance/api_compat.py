"""Says where the protos of a descriptor set and upstream's differ. See api_compat.sh.

A message or enum of ours may leave fields and values out. What it has must be upstream's: number, type, label, type name,
and being in a oneof of that name.
"""
import importlib
import pkgutil
import sys

try:
    from google.protobuf import descriptor_pb2
except ImportError:
    sys.exit("the Python package protobuf is missing: install xds-protos and protobuf")

ROOTS = ("envoy", "google.rpc", "udpa", "xds")


def upstream_files():
    """FileDescriptorProto by name, of each generated module that can be loaded."""
    files = {}
    for root in ROOTS:
        try:
            package = importlib.import_module(root)
        except ImportError:
            sys.exit(f"the Python package {root} is missing: install xds-protos")
        names = [m.name for m in pkgutil.walk_packages(package.__path__, root + ".", onerror=lambda _: None)]
        for name in names:
            if not name.endswith("_pb2"):
                continue
            try:
                descriptor = importlib.import_module(name).DESCRIPTOR
            except Exception as why:
                print(f"note: {name} can't be loaded and is not compared: {why}", file=sys.stderr)
                continue
            files[descriptor.name] = descriptor_pb2.FileDescriptorProto.FromString(descriptor.serialized_pb)
    return files


def collect(files):
    """All messages and enums by full name."""
    messages, enums = {}, {}

    def walk(prefix, message):
        name = f"{prefix}.{message.name}"
        messages[name] = message
        for nested in message.nested_type:
            walk(name, nested)
        for enum in message.enum_type:
            enums[f"{name}.{enum.name}"] = enum

    for file in files:
        for message in file.message_type:
            walk(file.package, message)
        for enum in file.enum_type:
            enums[f"{file.package}.{enum.name}"] = enum
    return messages, enums


def facts(message, field):
    oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else ""
    return {
        "number": field.number,
        "type": field.type,
        "label": field.label,
        "type name": field.type_name,
        "oneof": oneof,
    }


def main():
    with open(sys.argv[1], "rb") as file:
        ours = descriptor_pb2.FileDescriptorSet.FromString(file.read()).file
    ours = [f for f in ours if not f.package.startswith("google.protobuf")]
    their_messages, their_enums = collect(upstream_files().values())
    our_messages, our_enums = collect(ours)
    compared, differences = 0, []
    for name, message in our_messages.items():
        theirs = their_messages.get(name)
        if theirs is None:
            differences.append(f"{name}: upstream has no such message")
            continue
        their_fields = {field.name: field for field in theirs.field}
        for field in message.field:
            compared += 1
            if field.name not in their_fields:
                differences.append(f"{name}.{field.name}: upstream has no such field")
                continue
            left, right = facts(message, field), facts(theirs, their_fields[field.name])
            differences += [f"{name}.{field.name}: {what} is {left[what]!r}, upstream {right[what]!r}"
                            for what in left if left[what] != right[what]]
    for name, enum in our_enums.items():
        theirs = their_enums.get(name)
        if theirs is None:
            differences.append(f"{name}: upstream has no such enum")
            continue
        numbers = {value.name: value.number for value in theirs.value}
        for value in enum.value:
            compared += 1
            if numbers.get(value.name) != value.number:
                differences.append(f"{name}.{value.name} is {value.number}, upstream {numbers.get(value.name)}")
    print("\n".join(differences + [f"{compared} fields and enum values compared, {len(differences)} differences"]))
    return 1 if differences else 0


sys.exit(main())
