// Links a layer alone (cmake/MqttdTargets.cmake): there is nothing to run.
int main() { return 0; }
