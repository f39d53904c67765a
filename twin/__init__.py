"""The digital twin: scenario, registry, data sets and generators, edge storage (CoAP), twin store, lazy loading.

Public: ``scenario``, ``wiring``, ``sensor_types`` (what the city is), ``generate`` (cities, load and sensor data of any
size), ``milan`` and ``trentino`` (published data), ``edge`` and ``retrieval`` (CoAP), ``store`` (what the twin holds).
"""
