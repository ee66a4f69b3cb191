"""Each test leaks an object of the container engine, and gives it its own name."""

import docker
import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

IMAGE = "cgrun-test"
FOREVER = ["tail", "-f", "/dev/null"]


@pytest.fixture(scope="session")
def client():
    """One for all tests, which keeps its connections."""
    return docker.from_env()


def test_a_container_of_docker_py(client):
    client.containers.run(IMAGE, FOREVER, detach=True, network_mode="none", name="test_a_container_of_docker_py")


def test_a_network_of_docker_py(client):
    client.networks.create("test_a_network_of_docker_py")


def test_a_volume_of_docker_py(client):
    client.volumes.create("test_a_volume_of_docker_py")


def test_a_volume_of_a_container(client):
    volumes = {"test_a_volume_of_a_container": {"bind": "/data", "mode": "rw"}}
    client.containers.run(IMAGE, ["true"], remove=True, network_mode="none", volumes=volumes)


def test_a_container_of_testcontainers():
    container = DockerContainer(IMAGE).with_command(FOREVER).with_kwargs(network_mode="none")
    container.with_name("test_a_container_of_testcontainers").start()


def test_a_network_of_testcontainers():
    network = Network()
    network.name = "test_a_network_of_testcontainers"
    network.create()
